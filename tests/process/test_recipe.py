"""Recipes that are run: the same as the steps by hand, once, and again only what changed."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from usidx import steps
from usidx.cli import main
from usidx.errors import PlanError, RecipeError
from usidx.process.recipe import run_recipe
from usidx.process.results.result import ResultGroup
from usidx.recipes import parse_recipe
from usidx.step import step
from usidx.testing import make_main

RECIPE = """\
usidx_recipe: 1
source: {main: Raw_Data}
sources:
  flats: flats.h5:Raw_Data
steps:
- name: flat
  step: flat_field
  sources: {flat: flats}
- name: parts
  step: Recipe_Parts
  parameters: {first: 3}
- step: normalize
  of: parts/Low
- name: level
  step: mean
  of: flat
  parameters: {over: [Frequency]}
"""


@steps.register
@step("Recipe_Parts", version="1", per_position=True)
def parts(spectra: xr.DataArray, *, first: int) -> xr.Dataset:
    """The first values of each spectrum, and the mean of all."""
    low = spectra.isel(Frequency=slice(first))
    return xr.Dataset(
        {"Low": low.rename(Frequency="Low_Frequency"), "Mean": spectra.mean("Frequency")}
    )


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """With a scan, its flats, and RECIPE."""
    make_main((6, 8, 16)).usid.to_h5usid(tmp_path / "scan.h5")
    (2 + abs(make_main((6, 8, 16)))).usid.to_h5usid(tmp_path / "flats.h5")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def when(groups: dict[str, ResultGroup]) -> dict[str, Any]:
    return {name: (each.path, each.record.attrs["timestamp"]) for name, each in groups.items()}


@pytest.mark.parametrize("into", [None, "results.zarr"])
def test_a_chain_is_its_steps(folder: pathlib.Path, into: str | None) -> None:
    raw = usidx.open(folder / "scan.h5")
    store = None if into is None else folder / into
    groups = raw.usid.run_recipe(folder / "recipe.yaml", store)
    assert list(groups) == ["flat", "parts", "normalize", "level"]
    assert {each.status for each in groups.values()} == {"complete"}
    flat = raw.values / usidx.open(folder / "flats.h5").values
    np.testing.assert_allclose(groups["flat"].open().values, flat, rtol=1e-6)
    np.testing.assert_allclose(groups["level"].open().values.squeeze(), flat.mean(-1), rtol=1e-5)
    low = flat[..., :3] / abs(flat[..., :3]).max(-1, keepdims=True)
    np.testing.assert_allclose(groups["normalize"].open().values, low, rtol=1e-5)
    assert when(raw.usid.run_recipe(folder / "recipe.yaml", store)) == when(groups)


def test_only_what_changed_is_computed_again(folder: pathlib.Path) -> None:
    raw = usidx.open(folder / "scan.h5")
    before = raw.usid.run_recipe(folder / "recipe.yaml")
    changed = RECIPE.replace("first: 3", "first: 2")
    after = raw.usid.run_recipe(parse_recipe(changed, folder=str(folder)))
    same = {name for name in before if before[name].path == after[name].path}
    assert same == {"flat", "level"}
    assert after["normalize"].open().shape == (6, 8, 2)
    assert raw.usid.run_recipe(folder / "recipe.yaml") == before


def test_what_was_interrupted_goes_on(folder: pathlib.Path) -> None:
    raw = usidx.open(folder / "scan.h5")
    seen = []

    def stop(block: Any) -> None:
        seen.append(block)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        raw.usid.run_recipe(folder / "recipe.yaml", on_block=stop)
    assert len(seen) == 1
    groups = raw.usid.run_recipe(folder / "recipe.yaml")
    flat = raw.values / usidx.open(folder / "flats.h5").values
    np.testing.assert_allclose(groups["flat"].open().values, flat, rtol=1e-6)
    assert [each.path[-3:] for each in groups.values()] == ["000"] * 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("of: parts/Low", "of: parts", "has several Mains; write one of parts/Low, parts/Mean"),
        ("of: parts/Low", "of: parts/Loo", "no Main 'Loo' .did you mean 'Low'"),
        ("of: flat\n", "of: {name: flat, field: a}\n", "no field 'a'; it is not compound"),
        ("over: [Frequency]", "over: [Frequencies]", "step 'level' of the recipe: .*Frequencies"),
        ("flats.h5", "none.h5", "step 'flat' of the recipe: .*none.h5"),
    ],
)
def test_what_is_not_there(folder: pathlib.Path, old: str, new: str, said: str) -> None:
    recipe = parse_recipe(RECIPE.replace(old, new), folder=str(folder))
    with pytest.raises(usidx.errors.UsidError, match=said):
        run_recipe(usidx.open(folder / "scan.h5"), recipe)


def test_a_result_has_its_recipe(folder: pathlib.Path) -> None:
    raw = usidx.open(folder / "scan.h5")
    groups = raw.usid.run_recipe(folder / "recipe.yaml")
    text = groups["normalize"].open().usid.history.to_recipe()
    recipe = parse_recipe(text)
    assert [each.step for each in recipe.steps] == ["Flat_Field", "Recipe_Parts", "Normalize"]
    assert recipe.source is not None
    assert recipe.source.main == "/Measurement_000/Channel_000/Raw_Data"
    again = raw.usid.run_recipe(recipe)  # finds them all: it is the same
    assert [each.path for each in again.values()] == [
        groups[name].path for name in ("flat", "parts", "normalize")
    ]
    with pytest.raises(PlanError, match="was measured"):
        raw.usid.history.to_recipe()


def test_2d_forms_fields_and_arrays_are_kept(tmp_path: pathlib.Path) -> None:
    make_main((6, 8, 64), dtype="complex64").usid.to_h5usid(tmp_path / "scan.h5")
    flat = usidx.open(tmp_path / "scan.h5", form="2d")
    weighted = step("Recipe_Weighted", version="1", per_position=True)(_weighted)
    steps.register(weighted)
    guess = usidx.open(tmp_path / "scan.h5").usid.process(steps.sho_guess).run().open()
    field = next(iter(guess.data_vars))
    for process in (
        flat.usid.process(
            weighted, weights=np.linspace(0, 1, 64, dtype="f4"), along="spectroscopic"
        ),
        guess[field].usid.process(steps.gaussian_filter, sigma=1.0),
    ):
        result = process.run()
        recipe = parse_recipe(result.open().usid.history.to_recipe())
        [*_, again] = usidx.open(tmp_path / "scan.h5", "Raw_Data").usid.run_recipe(recipe).values()
        assert again.path == result.path


def test_what_cannot_be_run_again_has_no_recipe(folder: pathlib.Path) -> None:
    raw = usidx.open(folder / "scan.h5")
    saved = raw.usid.save(abs(raw), tool="Magnitude").open()
    with pytest.raises(PlanError, match="a lazy result that was saved"):
        saved.usid.history.to_recipe()


def _weighted(spectra: xr.DataArray, *, weights: np.ndarray, along: str) -> xr.DataArray:
    """Spectra times weights."""
    return spectra * xr.DataArray(weights, dims=along)


class TestCommandLine:
    def call(self, *arguments: object) -> Any:
        return CliRunner().invoke(main, [str(each) for each in arguments])

    def test_runs_once_and_writes_what_it_ran(self, folder: pathlib.Path) -> None:
        scan, recipe = folder / "scan.h5", folder / "recipe.yaml"
        first = json.loads(self.call("run", scan, recipe, "--json").stdout)
        assert [each["computed"] for each in first] == [True] * 4
        again = self.call("run", scan, "Raw_Data", recipe)
        assert again.stdout.count("nothing was computed") == 4
        text = self.call("history", scan, "Normalize", "--recipe").stdout
        (folder / "again.yaml").write_text(text, encoding="utf-8")
        third = json.loads(self.call("run", scan, folder / "again.yaml", "--json").stdout)
        assert [each["computed"] for each in third] == [False] * 3

    def test_steps_of_ones_own(self, folder: pathlib.Path) -> None:
        (folder / "own_steps.py").write_text(
            "import usidx\n"
            "@usidx.steps.register\n"
            "@usidx.step('Own_Double', version='1')\n"
            "def double(data):\n"
            "    '''All values twice.'''\n"
            "    return 2 * data\n"
        )
        (folder / "own.yaml").write_text("usidx_recipe: 1\nsteps:\n- step: Own_Double\n")
        line = ["run", folder / "scan.h5", folder / "own.yaml"]
        assert "no registered step 'Own_Double'" in self.call(*line).stderr
        told = self.call(*line, "--steps", folder / "own_steps.py")
        assert told.exit_code == 0, told.output
        values = usidx.open(folder / "scan.h5", "Raw_Data-Own_Double_000/Own_Double").values
        np.testing.assert_array_equal(values, 2 * usidx.open(folder / "scan.h5", "Raw_Data").values)

    def test_refusals(self, folder: pathlib.Path) -> None:
        scan, recipe = folder / "scan.h5", folder / "recipe.yaml"
        assert "Missing argument 'STEP'" in self.call("run", scan, "Raw_Data").stderr
        told = self.call("run", scan, recipe, "--set", "a=1")
        assert (told.exit_code, "no --set" in told.stderr) == (2, True)
        recipe.write_text(RECIPE.replace("Recipe_Parts", "Recipe_Part"), encoding="utf-8")
        told = self.call("run", scan, recipe)
        assert told.exit_code == 1
        assert "recipe.yaml, line 10: there is no registered step 'Recipe_Part'" in told.stderr
        assert len(told.stderr.splitlines()) == 1
        with pytest.raises(RecipeError):
            usidx.read_recipe(recipe)
