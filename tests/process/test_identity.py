"""What makes two results the same: everything that could change a value, and nothing else."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, example, given, settings

import usidx
from usidx.model.provenance import fingerprint
from usidx.process.planning.bind import bind
from usidx.step import step
from usidx.testing import make_main

NUMBERS = st.one_of(
    st.integers(-(2**40), 2**40),
    st.floats(width=32),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 0.1, 2**53, 1e300]),
)
LEAVES = st.one_of(NUMBERS, st.booleans(), st.none(), st.text(max_size=4), st.complex_numbers())
VALUES = st.one_of(
    LEAVES,
    st.lists(NUMBERS, max_size=4),
    st.lists(st.text(max_size=2), max_size=3),
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["gain", "mask", "over", "limits"]), VALUES, max_size=4
)
CALM = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def told(parameters: dict[str, Any], step: str = "Step", version: str = "1", *sources: str) -> str:
    return fingerprint(step, version, parameters, sources or ("a source",))


def respelled(draw: st.DrawFn, value: Any) -> Any:
    """The same value, held by something else."""
    if isinstance(value, dict):
        names = draw(st.permutations(list(value)))
        return {name: respelled(draw, value[name]) for name in names}
    if isinstance(value, list):
        kinds = {type(each) for each in value}
        if value and kinds <= {int, float} and draw(st.booleans()):
            array = np.array(value)  # of ints, or of floats where every int has one
            return array if draw(st.booleans()) else array.astype(array.dtype.newbyteorder(">"))
        return tuple(respelled(draw, each) for each in value)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return draw(st.sampled_from([value, float(value), np.int64(value), np.float64(value)]))
    if isinstance(value, float) and value == 0:
        return draw(st.sampled_from([0, -0.0, 0.0, np.float32(0)]))
    if isinstance(value, float):
        return draw(st.sampled_from([value, np.float64(value), np.array(value)]))
    return np.complex128(value)


@st.composite
def twins(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = draw(PARAMETERS)
    return parameters, respelled(draw, parameters)


@CALM
@example(({"a": [0, 2**53, math.nan]}, {"a": (0, 2.0**53, math.nan)}))
@given(twins())
def test_however_equal_parameters_are_held(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert told(pair[0]) == told(pair[1])


@CALM
@given(PARAMETERS, st.sampled_from(["gain", "mask", "over", "limits"]), VALUES)
def test_any_other_value_is_another_result(
    parameters: dict[str, Any], name: str, value: Any
) -> None:
    changed = parameters | {name: value}
    same = name in parameters and is_same(parameters[name], value)
    assert (told(parameters) == told(changed)) == same


def is_same(left: Any, right: Any) -> bool:
    """Whether two values are equal, by plain Python: NaN equals NaN, True is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, complex) or isinstance(right, complex):
        return isinstance(left, complex) == isinstance(right, complex) and all(
            is_same(getattr(left, part), getattr(right, part)) for part in ("real", "imag")
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    if isinstance(left, float) and isinstance(right, float) and left != left:
        return right != right
    return (
        type(left) in (int, float)
        and type(right) in (int, float)
        and left == right
        or (type(left) is type(right) and left == right)
    )


def test_step_version_and_sources_count() -> None:
    several = {
        told({"a": 1}),
        told({"a": 1}, "Other"),
        told({"a": 1}, "Step", "2"),
        told({"a": 1}, "Step", "1", "another source"),
        told({"a": 1}, "Step", "1", "a source", "dark=another"),
        told({"a": 1}, "Step", "1", "dark=another", "a source"),
        told({"b": 1}),
        told({}),
        told({"a": None}),
    }
    assert len(several) == 9


@step("Scaled", version="1")
def scaled(
    spectra: xr.DataArray, *, by: Any = 1.0, other: Any = None, name: str = ""
) -> xr.DataArray:
    return (float(np.sum(by)) * spectra).assign_attrs(spectra.attrs)


@pytest.fixture
def saved(tmp_path: pathlib.Path) -> str:
    return usidx.to_h5usid(make_main((3, 4, 5)), tmp_path / "scan.h5")


def test_the_source_and_where_it_comes_from(saved: str, tmp_path: pathlib.Path) -> None:
    def mark(obj: Any, **parameters: Any) -> str:
        return bind(scaled, obj, parameters).fingerprint

    da = usidx.open(saved)
    same = {
        mark(da),
        mark(usidx.open(saved, chunks={"Y": 1})),
        mark(usidx.open(saved, chunks=None)),
        mark(da, name="", by=1),
        mark(da, by=np.float32(1)),
    }
    assert len(same) == 1
    moved = tmp_path / "elsewhere.h5"
    moved.write_bytes(pathlib.Path(saved).read_bytes())
    assert mark(usidx.open(moved)) in same
    others = {
        mark(da, by=np.ones(1)),
        mark(da, by=[1, 2]),
        mark(da, by=[2, 1]),
        mark(da, name="a"),
        mark(usidx.open(saved, form="2d")),
        mark(2 * da),
        mark(da.isel(X=slice(1, 3))),
        mark(da, other=da),
        mark(da, other=2 * da),
        mark(da, other=da.compute()),
        mark(da, other=da.compute().assign_attrs(units="A")),
        mark(da, other=da.isel(Y=0).compute()),
    }
    assert len(others) == 12
    assert not others & same


def test_the_history_of_the_source_counts(saved: str) -> None:
    da = usidx.open(saved)
    first = da.usid.process(scaled, by=0).run()
    before = bind(scaled, first.open(), {}).fingerprint
    assert bind(scaled, first.open(), {}).fingerprint == before
    # the same values at the same place, of other parameters
    with h5py.File(saved, "r+") as file:
        del file[first.path]
    second = da.usid.process(scaled, by=0.0, name="b").run()
    assert second.path == first.path
    np.testing.assert_array_equal(second.open(), 0)
    assert bind(scaled, second.open(), {}).fingerprint != before
