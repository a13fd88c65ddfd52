"""Arithmetic between Mains against NumPy, and grids that differ."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.testing import make_main

EXPECTED = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "contrast": lambda a, b: (a - b) / (a + b),
}


def test_values_are_those_of_numpy(any_frames: xr.DataArray) -> None:
    a = any_frames.astype("f8") + 2
    a.attrs = dict(any_frames.attrs)
    b = (a**2).assign_attrs(a.attrs)
    units = {"multiply": "counts·counts", "divide": "", "contrast": ""}
    for how, function in EXPECTED.items():
        found = steps.combine(a, other=b, how=how)
        np.testing.assert_allclose(found, function(a.values, b.values))
        assert found.attrs["units"] == units.get(how, "counts")
        assert found.dims == a.dims
        xr.testing.assert_identical(found.coords.to_dataset(), a.coords.to_dataset())


def test_a_run_has_two_sources(tmp_path, frames: xr.DataArray) -> None:
    path = str(tmp_path / "scan.h5")
    up, down = frames.astype("f4") + 9, frames.astype("f4") + 1
    usidx.to_h5usid(
        [
            up.assign_attrs(frames.attrs).rename("Up"),
            down.assign_attrs(frames.attrs).rename("Down"),
        ],
        path,
    )
    one, other = (usidx.open(path, name) for name in ("Up", "Down"))
    result = one.usid.process(steps.combine, other=other, how="contrast").run(memory="2 MB")
    np.testing.assert_allclose(result.open(), (up - down) / (up + down), rtol=1e-6)
    assert len(result.sources) == 2


def test_other_grids_are_refused(frames: xr.DataArray) -> None:
    steps.combine(frames, other=frames.assign_coords(X=frames.X * (1 + 1e-7)), how="add")
    moved = frames.assign_coords(X=frames.X + 0.5).isel(Y=slice(5))
    with pytest.raises(PlanError, match="'Y' has 6 and 5 values; 'X' differs by up to 0.5"):
        steps.combine(frames, other=moved.transpose("X", ...), how="add")
    with pytest.raises(PlanError, match="units 'counts' and 'V'"):
        steps.combine(frames, other=frames.assign_attrs(units="V"), how="subtract")
    with pytest.raises(PlanError, match="'Z' is in one only"):
        steps.combine(frames, other=frames.expand_dims("Z"), how="multiply")
    with pytest.raises(OptionError, match=r"\(did you mean 'add'"):
        steps.combine(frames, other=frames, how="ad")


@pytest.mark.parametrize("how", ["add", "subtract", "multiply", "divide", "contrast"])
def test_counts_do_not_go_round_at_the_end_of_their_range(how: str) -> None:
    up = (make_main(dtype="uint8") % 7 + 1).assign_attrs(units="")
    down = (up * 30).astype("uint8")
    found = steps.combine(up, other=down, how=how)
    a, b = up.values.astype(float), down.values.astype(float)
    np.testing.assert_allclose(found, EXPECTED[how](a, b), rtol=1e-6)
