"""Recipes as people write them: what they say, and what is said where they are wrong."""

from __future__ import annotations

import pathlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from usidx.errors import RecipeError
from usidx.model.provenance import fingerprint
from usidx.recipes import MainAt, Recipe, RecipeStep, Use, parse_recipe, read_recipe

WHOLE = """\
usidx_recipe: 1
source: scan.h5:Raw_Data
sources:
  flats: {store: flats.edf, options: {reader: edf}}
steps:
- step: flat_field
  sources: {flat: flats}
- name: filtered
  step: fft_filter
  parameters: {low: 1.0e+4}
- step: sho_fit
  of: {name: filtered, form: 2d}
"""


def test_all_that_can_be_said() -> None:
    recipe = parse_recipe(WHOLE, folder="/data")
    assert recipe.source == MainAt("Raw_Data", "/data/scan.h5")
    assert recipe.sources == {"flats": MainAt(None, "/data/flats.edf", {"reader": "edf"})}
    flat, filtered, fit = recipe.steps
    assert (flat.name, flat.of) == ("flat_field", Use("source"))
    assert flat.sources == {"flat": Use("flats")}
    assert (filtered.name, filtered.of) == ("filtered", Use("flat_field"))
    assert filtered.parameters == {"low": 1e4}
    assert fit.of == Use("filtered", form="2d")


def steps(*lines: str) -> str:
    return "\n".join(["usidx_recipe: 1", "steps:", *lines])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "a recipe must be a mapping"),
        ("- 1", 1, "must be a mapping"),
        ("usidx_recipe: 2\nsteps: [{step: mean}]", 1, "found 2"),
        ("usidx_recipe: 1\n", 1, "must be a list"),
        ("usidx_recipe: 1\nstep: []", 2, "did you mean 'steps'"),
        (steps("- {step: meen}"), 3, "did you mean 'mean'"),
        (steps("- step: mean", "  versoin: '1'"), 4, "did you mean 'version'"),
        (steps("- step: mean", "  version: 1"), 4, "write '1'"),
        (steps("- step: mean", "  version: '0'"), 4, "has version '1' here"),
        (steps("- step: mean", "  parameters:", "    ovre: [X]"), 4, "did you mean 'over'"),
        (steps("- step: normalize", "- step: mean", "  of: normalise"), 5, "'normalize'"),
        (steps("- step: mean", "  of: mean"), 4, "there is no 'mean' before this"),
        (steps("- step: normalize", "- step: normalize"), 4, "another 'name'"),
        (steps("- step: normalize", "  step: mean"), 4, "there twice"),
        (steps("- step: crop", "  parameters:", "    1: 2"), 5, "keys are text"),
        (steps("- step: fft_filter", "  parameters:", "    low: 1e4"), 5, "write 10000.0"),
        (steps("- step: mean", "  parameters: {over: 2026-01-01}"), 4, "no value of a parameter"),
        (steps("- step: mean", "  parameters: {over: NO}"), 4, "YAML takes NO for false"),
        (steps("- step: mean", "  parameters: {over: [yes]}"), 4, "YAML takes yes for true"),
        (steps("- step: mean", "  parameters: {over: 12:30}"), 4, "another base than 10"),
        (steps("- step: mean", "  parameters: {over: 017}"), 4, "another base than 10"),
        (steps("- <<: {step: mean}"), 3, "keys are text"),
        ("usidx_recipe: true\nsteps: [{step: mean}]", 1, "found True"),
        (steps("- step: &a mean", "- step: *a"), 4, "aliases"),
        (steps("- step: mean", "  parameters: {over: !!python/name:os.system}"), 4, "no YAML"),
        (steps("- step: mean", "  parameters: {over: [X"), 4, "no YAML"),
        (steps("- " + "[" * 5000), 3, "no YAML"),
        (steps("- step: pca", "  of: {name: source, form: 3d}"), 4, "'nd' or '2d'"),
        (steps("- step: flat_field", "  sources: {flat: flats}"), 4, "no 'flats'"),
        (steps("- step: os:system"), 3, "no registered step"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    message = str(caught.value)
    assert said in message
    assert f"r.yaml, line {line}: " in message or "[" * 5000 in text


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(steps("- step: meen", "- {step: normalize, of: nobody}", "- {name: 3}"))
    told = str(caught.value)
    assert [f"line {n}" in told for n in (3, 4, 5)] == [True] * 3


def test_files(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="UTF-8"):
        read_recipe(tmp_path / "binary.yaml")
    (tmp_path / "recipe.yaml").write_text(WHOLE, encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.yaml") == parse_recipe(WHOLE, folder=str(tmp_path))


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text()
    | st.sampled_from([np.arange(6, dtype="f4").reshape(2, 3), np.array([1 + 2j, np.nan])]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    parameters=st.dictionaries(st.just("over") | st.just("skipna"), VALUES),
    options=st.dictionaries(NAMES, VALUES, max_size=2),
    form=st.sampled_from(["nd", "2d"]),
    field=st.none() | st.text(min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_text_gives_back_the_recipe(
    parameters: dict[str, object], options: dict[str, object], form: str, field: str | None
) -> None:
    first = RecipeStep("a", "crop", Use("source", None, field, form), {"to": parameters})
    later = RecipeStep("b", "normalize", Use("a", "Crop"), {"along": parameters})
    recipe = Recipe((first, later), MainAt("M", "s.h5", options), {"other": MainAt("/a:b/c")})
    back = parse_recipe(recipe.to_yaml())
    assert [(each.name, each.step, each.of, each.version) for each in back.steps] == [
        (each.name, each.step, each.of, each.version) for each in recipe.steps
    ]
    for one, other in zip(back.steps, recipe.steps, strict=True):
        assert fingerprint("", "", one.parameters, []) == fingerprint("", "", other.parameters, [])
    assert back.sources == recipe.sources
    assert fingerprint("", "", back.source.options, []) == fingerprint("", "", options, [])  # type: ignore[union-attr]
