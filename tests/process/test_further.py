"""Lazy results that were made of several Mains by plain xarray."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import usidx
from usidx.errors import PlanError
from usidx.exporting import to_h5usid, to_zarr
from usidx.testing import make_main

RAW, DARK = "/Measurement_000/Channel_000/Raw_Data", "/Measurement_000/Channel_001/Dark"


@pytest.fixture(params=["h5", "zarr"])
def path(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    raw = make_main((6, 7, 8))
    write = {"h5": to_h5usid, "zarr": to_zarr}[request.param]
    return write(
        {RAW: raw, DARK: make_main((6, 7, 8), seed=3).rename("Dark")},
        tmp_path / f"scan.{request.param}",
    )


def test_those_in_the_graph_are_found(path: str) -> None:
    raw, dark = usidx.open(path, RAW), usidx.open(path, DARK)
    lazy = (raw - dark.mean(["Y", "X"])).assign_attrs(raw.attrs)
    result = raw.usid.save(lazy, "Less")
    assert [each.main for each in result.sources] == [RAW, DARK]
    assert result.record.attrs["num_source_dsets"] == 2
    assert [each.path for each in dark.usid.results()] == [result.path]
    expected = make_main((6, 7, 8)) - make_main((6, 7, 8), seed=3).mean(["Y", "X"])
    np.testing.assert_allclose(result.open(), expected, rtol=1e-4)
    assert usidx.open(path, RAW).usid.save(lazy, "Less") == result
    assert [each.main for each in raw.usid.save(2 * raw, "Twice").sources] == [RAW]
    steps = result.open().usid.history
    assert [each.main for each in steps] == [RAW, DARK, f"{result.path}/Less"]


def test_others_are_told(path: str) -> None:
    raw, dark = usidx.open(path, RAW), usidx.open(path, DARK)
    level = float(dark.mean())
    lazy = (raw - np.float32(level)).assign_attrs(raw.attrs)
    result = raw.usid.save(lazy, "Less", {"level": level}, sources=[dark])
    assert [each.main for each in result.sources] == [RAW, DARK]
    with pytest.raises(PlanError, match=r"sources\[0\], 'Dark', is not a whole, untouched Main"):
        raw.usid.save(lazy, "Less", sources=[dark.isel(Y=0)])


def test_a_result_that_is_not_complete_is_refused(path: str) -> None:
    raw, dark = usidx.open(path, RAW), usidx.open(path, DARK, chunks={"Y": 1})

    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dark.usid.save(2 * dark, "Twice", on_block=stop, memory="1500", workers=1)
    (partial,) = dark.usid.results()
    assert partial.status == "partial"
    with pytest.raises(PlanError, match="made of .*, a result that is not complete"):
        raw.usid.save(raw - partial.open(), "Less")
