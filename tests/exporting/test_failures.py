"""Where a step failed, and why, stays known through every store; so the rest can be computed."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.exporting import to_h5usid, to_netcdf, to_zarr
from usidx.stores import store_at
from usidx.testing import make_main

CHAIN: tuple[Callable[..., str], ...] = (
    to_zarr,
    to_h5usid,
    to_netcdf,
    to_h5usid,
    lambda obj, path: to_zarr(obj, path, zarr_format=2),
    lambda obj, path: to_zarr(obj, path, access="both"),
    lambda obj, path: to_h5usid(obj, path, compression="gzip"),
)
# The first position, and one in the middle, in the order of (Y, X)
BROKEN = {(0, 0): "ValueError: dark", (3, 2): "ZeroDivisionError: division by zero"}
_mended = False


def kernel(block: Any) -> Any:
    """The values times two, but for spectra that begin with the number of a broken position."""
    for (y, x), error in () if _mended else BROKEN.items():
        if np.any(block[..., 0] == 5 * y + x):
            raise ValueError("dark") if "dark" in error else ZeroDivisionError("division by zero")
    return block * 2


@usidx.step("Twice", version="1", per_position=True)
def twice(spectra: xr.DataArray) -> xr.DataArray:
    """The values times two, but for some positions."""
    doubled: xr.DataArray = xr.apply_ufunc(
        kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype], keep_attrs=True
    )
    return doubled


@pytest.fixture
def scan(tmp_path: pathlib.Path) -> str:
    y, x, f = (usidx.Dimension(n, "um", np.arange(k)) for n, k in (("Y", 6), ("X", 5), ("F", 8)))
    values = np.random.default_rng(0).random((6, 5, 8))
    values[..., 0] = np.arange(30).reshape(6, 5)
    main = usidx.from_array(values, "Height", "V", position=[y, x], spectroscopic=[f])
    return to_h5usid(main, tmp_path / "scan.h5")


def failed_in(path: str) -> dict[tuple[int, ...], str]:
    (result,) = usidx.open(path, "Raw_Data").usid.results("Twice")
    assert len(result.failed) == store_at(path).result(result.path).failed
    return {tuple(each.where.values()): each.error for each in result.failed}


def test_failures_go_through_every_store(
    scan: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = usidx.open(scan, "Raw_Data")
    raw.usid.process(twice).run(on_error="mark")
    assert failed_in(scan) == BROKEN
    expected = usidx.open(scan, "Twice").compute()
    monkeypatch.setitem(globals(), "_mended", True)
    now = scan
    for number, export in enumerate(CHAIN):
        now = export(usidx.open_tree(now), tmp_path / str(number))
        assert failed_in(now) == BROKEN, number
        found = usidx.open(now, "Twice")
        np.testing.assert_array_equal(found, expected)
        assert found.attrs["usid_failed"] == 2
        assert usidx.validate(now, values=True).ok
        names = [each.name for group in store_at(now).contents().groups for each in group.datasets]
        if export is not to_h5usid and number != 6:
            assert not [name for name in names if "failed" in name or "reasons" in name]
    for number, path in enumerate(tmp_path / str(number) for number in (0, 1, 4, 5, 6)):
        main = usidx.open(path, "Raw_Data")
        process = main.usid.process(twice)
        result = process.run(retry_failed=True)
        assert [each.path for each in process.existing()] == [result.path]
        assert len(result.failed) == 0, number
        np.testing.assert_array_equal(usidx.open(path, "Twice"), main * 2)
        assert usidx.validate(path, values=True).ok


def test_partial_results_keep_theirs(
    scan: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.stores.contract import CHANNEL, grid_main, request, whole

    spec, values = grid_main("f8", order=True, path="/Fit")
    other, _ = grid_main("f4", path="/Other")
    path = to_h5usid(make_main((4, 3, 5)), tmp_path / "a.h5")
    with store_at(path).claim(request(spec, other, failures=True)) as claim:
        first = (slice(0, 2), slice(0, 3), slice(0, 5))
        writer: Any = claim.writers["Fit"]
        writer.write(first, values[first])
        writer.fail(first, np.array([[0, 2, 0], [1, 0, 2]]), ["no light", "no peak"])
        writer.mark(first)
    for number, export in enumerate((to_zarr, to_h5usid, to_netcdf, to_h5usid)):
        path = export(usidx.open_tree(path), tmp_path / f"b{number}")
        record = store_at(path).result(f"{CHANNEL}/Raw_Data-Fit_000")
        assert (record.status, record.done, record.failed) == ("partial", 6, 3)
        failures = store_at(path).open_main(f"{record.group}/Fit").failures
        assert failures is not None
        told = [("", *failures.reasons)[each] for each in whole(failures.numbers)[:2].ravel()]
        assert told == ["", "no peak", "", "no light", "", "no peak"]
    with store_at(path).reopen(record.group) as again:
        assert again.writers["Fit"].done().sum() == 6
