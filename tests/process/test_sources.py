"""Steps with several source Mains: the first one, and parameters that are arrays themselves."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import cloudpickle
import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import PlanError, StepError
from usidx.exporting import to_h5usid, to_zarr
from usidx.process.process import Process
from usidx.step import step
from usidx.testing import make_main

CHANNELS = {
    name: f"/Measurement_000/Channel_00{number}/{name}"
    for number, name in enumerate(["Raw_Data", "Flat", "Dark"])
}
# One row of the map at a time.
SMALL = {"memory": "9 kB", "workers": 1}


@step("Flat_Field", version="1", per_position=True)
def flat_field(spectra: xr.DataArray, *, flat: xr.DataArray, dark: xr.DataArray, gain: float = 1):
    """Spectra over those of the empty field, without what the detector gives in the dark."""
    return (gain * (spectra - dark) / (flat - dark)).assign_attrs(spectra.attrs)


@pytest.fixture
def measured() -> dict[str, xr.DataArray]:
    """A map, a flat field of the same shape, and the mean spectrum in the dark."""
    raw, flat = make_main((8, 10, 16)), 2 + make_main((8, 10, 16), seed=1)
    flat = flat.assign_attrs(raw.attrs).rename("Flat")
    dark = (0.01 * raw.isel(Y=[0], X=[0])).assign_attrs(raw.attrs).rename("Dark")
    return {"Raw_Data": raw, "Flat": flat, "Dark": dark}


@pytest.fixture(params=["h5", "zarr"])
def path(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, measured: dict[str, xr.DataArray]
) -> str:
    """A store of each kind with all three in it."""
    write = {"h5": to_h5usid, "zarr": to_zarr}[request.param]
    mains = {CHANNELS[name]: each for name, each in measured.items()}
    return write(mains, tmp_path / f"scan.{request.param}")


def opened(path: str, **options: object) -> dict[str, xr.DataArray]:
    """The three Mains; the dark spectrum without its position."""
    found = {name: usidx.open(path, main, **options) for name, main in CHANNELS.items()}
    return {name.lower(): each for name, each in found.items()}


@step("Less_Dark", version="1", per_position=True)
def less_dark(spectra: xr.DataArray, *, dark: xr.DataArray) -> xr.DataArray:
    """Spectra without the dark spectrum."""
    return (spectra - dark.isel(Y=0, X=0, drop=True)).assign_attrs(spectra.attrs)


def corrected(measured: dict[str, xr.DataArray], gain: float = 1) -> xr.DataArray:
    """What Flat_Field gives where dark is the map, by NumPy."""
    raw, flat = (measured[name].values for name in ("Raw_Data", "Flat"))
    dark = 0.1 * raw
    return gain * (raw - dark) / (flat - dark)


def dark_map(path: str) -> str:
    """A fourth Main, in a store of its own: the map in the dark."""
    raw = usidx.open(path, CHANNELS["Raw_Data"])
    folder = os.path.dirname(path)
    dark = (np.float32(0.1) * raw).assign_attrs(raw.attrs).rename("Dark_Map")
    return to_h5usid(dark, os.path.join(folder, "dark.h5"), overwrite=True)


def test_all_sources_are_recorded(path: str, measured: dict[str, xr.DataArray]) -> None:
    mains, dark = opened(path), usidx.open(dark_map(path))
    result = mains["raw_data"].usid.process(flat_field, flat=mains["flat"], dark=dark).run(**SMALL)
    np.testing.assert_allclose(result.open(), corrected(measured), rtol=1e-5)
    assert dict(result.parameters) == {"gain": 1}
    assert [(each.store, each.main, each.parameters) for each in result.sources] == [
        (path, CHANNELS["Raw_Data"], ()),
        (dark.encoding["source"], "/Measurement_000/Channel_000/Dark_Map", ("dark",)),
        (path, CHANNELS["Flat"], ("flat",)),
    ]
    assert result.source == result.sources[0]
    assert result.record.attrs["num_source_dsets"] == 3
    names = [each.name for each in result.open().usid.sources]
    assert names == ["Raw_Data", "Dark_Map", "Flat"]
    assert result.open().usid.source.identical(mains["raw_data"])
    assert "flat: /Measurement_000/Channel_001/Flat" in repr(result)


def test_references_as_pyusid_writes_them(
    tmp_path: pathlib.Path, measured: dict[str, xr.DataArray]
) -> None:
    mains = {CHANNELS[name]: each for name, each in measured.items()}
    path = to_h5usid(mains, tmp_path / "scan.h5")
    found = opened(path)
    result = found["raw_data"].usid.process(less_dark, dark=found["dark"]).run()
    with h5py.File(path) as file:
        attrs = file[result.path].attrs
        assert attrs["num_source_dsets"] == 2
        assert file[attrs["source_000"]].name == CHANNELS["Raw_Data"]
        assert file[attrs["source_001"]].name == CHANNELS["Dark"]
        assert json.loads(attrs["usid_inputs"]) == {"dark": {"source": 1}}
    # references outlive another name of what they refer to
    with h5py.File(path, "r+") as file:
        file.move("Measurement_000/Channel_002", "Measurement_000/Channel_009")
    moved = result.sources[1]
    assert (moved.main, moved.parameters) == ("/Measurement_000/Channel_009/Dark", ("dark",))


def test_each_source_knows_the_result(path: str) -> None:
    mains = opened(path)
    result = mains["raw_data"].usid.process(less_dark, dark=mains["dark"]).run()
    for name in ("raw_data", "dark"):
        assert [each.path for each in mains[name].usid.results()] == [result.path]
    assert mains["flat"].usid.results() == []
    assert mains["dark"].usid.results("Less") == []


def test_the_same_sources_are_the_same_result(path: str) -> None:
    def run(flat: str = "flat", dark: str = "dark", **options: float):
        mains = opened(path)
        mains |= {"dark": usidx.open(dark_path)}
        process = mains["raw_data"].usid.process(
            flat_field, flat=mains[flat], dark=mains[dark], **options
        )
        return process.run()

    dark_path = dark_map(path)
    first = run()
    assert run() == first
    assert run(gain=1.0) == first
    others = [run(flat="dark", dark="flat"), run(flat="raw_data"), run(gain=2)]
    assert len({first, *others}) == 4


def test_blocks_are_cut_alike(path: str, measured: dict[str, xr.DataArray]) -> None:
    mains, dark = opened(path), usidx.open(dark_map(path), chunks={"X": 3})
    process = mains["raw_data"].usid.process(flat_field, flat=mains["flat"], dark=dark)
    alone = mains["raw_data"].usid.process(less_dark, dark=mains["dark"])
    # one row of a map of 10 spectra of 64 bytes: three are read, one is written
    assert process.plan.cost == pytest.approx(4 * 8 * 10 * 64)
    assert alone.plan.cost == pytest.approx(2 * 8 * 10 * 64 + 64)
    small = process.run(**SMALL)
    assert small.status == "complete"
    np.testing.assert_allclose(small.open(), corrected(measured), rtol=1e-5)
    assert process.estimate(**SMALL).blocks == 8
    with pytest.raises(PlanError, match="needs"):
        process.estimate(memory=700, workers=1)


def test_a_preview_has_its_place_in_every_source(
    path: str, measured: dict[str, xr.DataArray]
) -> None:
    mains, dark = opened(path), usidx.open(dark_map(path))
    process = mains["raw_data"].usid.process(flat_field, flat=mains["flat"], dark=dark)
    here = process.preview(isel={"Y": 3, "X": 7})
    np.testing.assert_allclose(here, corrected(measured)[3, 7], rtol=1e-5)
    assert "flat" in repr(process)
    assert CHANNELS["Flat"] in repr(process)


@pytest.mark.parametrize("form", ["nd", "2d"])
def test_a_partial_group_finds_its_other_sources(
    path: str, form: str, measured: dict[str, xr.DataArray]
) -> None:
    mains, dark = opened(path, form=form), usidx.open(dark_map(path), form=form)
    process = mains["raw_data"].usid.process(flat_field, flat=mains["flat"], dark=dark, gain=3)

    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(on_block=stop, **SMALL)
    (partial,) = usidx.open(path, CHANNELS["Raw_Data"]).usid.results()
    assert partial.status == "partial"
    assert 0 < partial.done < partial.total
    done = partial.resume(step=flat_field, **SMALL)
    assert (done.path, done.status) == (partial.path, "complete")
    values = done.open().values.reshape(8, 10, 16)
    np.testing.assert_allclose(values, corrected(measured, 3), rtol=1e-5)


def test_small_arrays_in_memory_are_kept_by_value(
    path: str, measured: dict[str, xr.DataArray]
) -> None:
    mains = opened(path)
    dark = measured["Dark"].isel(Y=[0], X=[0]).assign_coords(note=("X", ["a"]))
    process = mains["raw_data"].usid.process(less_dark, dark=dark)
    result = process.run()
    assert result.sources == (result.source,)
    assert mains["raw_data"].usid.process(less_dark, dark=dark.copy(deep=True)).run() == result
    kept = Process(less_dark, mains["raw_data"], result.parameters)
    assert kept.plan.fingerprint == process.plan.fingerprint
    assert kept.plan.arguments["dark"].identical(dark)
    other = mains["raw_data"].usid.process(less_dark, dark=dark + 1e-3).run()
    assert other != result
    expected = measured["Raw_Data"] - measured["Dark"].values[0, 0]
    np.testing.assert_allclose(result.open(), expected, rtol=1e-5)


def test_large_arrays_in_memory_are_sent_once(tmp_path: pathlib.Path) -> None:
    raw = make_main((32, 8, 1024))  # 1 MiB
    path = to_h5usid(raw, tmp_path / "scan.h5")
    flat = xr.concat([raw + 3, raw + 4], "frame")  # 2 MiB, unlike any Main

    @step("Over_Mean", version="1")
    def over_mean(spectra: xr.DataArray, *, flat: xr.DataArray) -> xr.DataArray:
        return (spectra / flat.mean("frame")).assign_attrs(spectra.attrs)

    process = usidx.open(path, chunks={"Y": 4}).usid.process(over_mean, flat=flat)
    held = process._replan(memory=3_000_000, workers=2).inputs[0].value
    assert len(held.chunksizes["Y"]) > 2
    graph = dict(held.data.dask)
    # under this name what several blocks need goes to another process once
    assert [key for key in graph if str(key).startswith("original-")]
    sizes = [len(cloudpickle.dumps(node)) for key, node in graph.items() if "original" not in key]
    assert max(sizes) < 10_000
    result = process.run(memory="3 MB", workers=2)
    np.testing.assert_allclose(result.open(), raw / (raw + 3.5), rtol=1e-5)
    assert usidx.open(path).usid.process(over_mean, flat=flat.copy(deep=True)).run() == result
    with pytest.raises(PlanError, match="make that array again"):
        process.run(fresh=True)._process(result.record, over_mean)


def test_derived_arrays_go_by_their_operations(
    path: str, measured: dict[str, xr.DataArray]
) -> None:
    def process(factor: float) -> Process:
        mains = opened(path)
        dark = factor * mains["dark"]
        return mains["raw_data"].usid.process(less_dark, dark=dark)

    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process(2).run(on_block=stop, **SMALL)
    (partial,) = usidx.open(path, CHANNELS["Raw_Data"]).usid.results()
    assert [each.main for each in partial.sources] == [CHANNELS["Raw_Data"]]
    assert "dark: an array that no store holds" in repr(partial)
    with pytest.raises(PlanError, match="parameter 'dark' .* was an array that no store holds"):
        partial.resume(step=less_dark)
    assert process(2).run() == partial
    assert partial.status == "complete"
    assert process(3).run() != partial
    np.testing.assert_allclose(
        partial.open(), measured["Raw_Data"] - 2 * measured["Dark"].values[0, 0], rtol=1e-4
    )


def test_a_partial_result_is_no_source(path: str) -> None:
    mains = opened(path)

    @step("Twice", version="1")
    def twice(spectra: xr.DataArray) -> xr.DataArray:
        return (2 * spectra).assign_attrs(spectra.attrs)

    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mains["flat"].usid.process(twice).run(on_block=stop, **SMALL)
    (partial,) = mains["flat"].usid.results()
    assert partial.status == "partial"
    with pytest.raises(PlanError, match=r"parameter 'dark' cannot be used: .* not complete"):
        mains["raw_data"].usid.process(less_dark, dark=partial.open())


def test_what_a_source_was_made_of_counts(path: str) -> None:
    def result(factor: float):
        (old,) = [*usidx.open(path, CHANNELS["Dark"]).usid.results("Times"), None][:1]
        if old is not None:
            if path.endswith(".zarr"):
                shutil.rmtree(os.path.join(path, old.path.strip("/")))
            else:
                with h5py.File(path, "r+") as file:
                    del file[old.path]
        # the same values, made in another way
        return usidx.open(path, CHANNELS["Dark"]).usid.process(times, factor=factor).run()

    @step("Times", version="1")
    def times(spectra: xr.DataArray, *, factor: float) -> xr.DataArray:
        return (0 * factor * spectra).assign_attrs(spectra.attrs)

    dark = result(1).open()
    first = usidx.open(path, CHANNELS["Raw_Data"]).usid.process(less_dark, dark=dark).run()
    again = usidx.open(path, CHANNELS["Raw_Data"]).usid.process(less_dark, dark=dark)
    assert again.run() == first
    dark = result(2).open()
    other = usidx.open(path, CHANNELS["Raw_Data"]).usid.process(less_dark, dark=dark).run()
    assert other != first


def test_other_coordinates_are_refused(
    path: str, measured: dict[str, xr.DataArray], tmp_path: pathlib.Path
) -> None:
    raw = usidx.open(path, CHANNELS["Raw_Data"])
    shifted = measured["Flat"].assign_coords(X=measured["Flat"].X + 1e-9)
    flat = usidx.open(to_zarr(shifted, tmp_path / "flat.zarr"))
    dark = measured["Raw_Data"] / 10
    with pytest.raises(PlanError, match="'Flat_Field' computes with arrays whose coordinates"):
        raw.usid.process(flat_field, flat=flat, dark=dark)
    with pytest.raises(PlanError, match="coordinates differ"):
        raw.usid.process(flat_field, flat=flat.isel(X=slice(1, None)), dark=dark)
    process = raw.usid.process(flat_field, flat=flat.assign_coords(X=raw.X), dark=dark)
    assert process.preview(isel={"Y": 1, "X": 1}).sizes == {"Frequency": 16}


def test_a_step_that_raises_names_the_block(path: str) -> None:
    mains = opened(path)

    @step("Broken", version="1")
    def broken(spectra: xr.DataArray, *, dark: xr.DataArray) -> xr.DataArray:
        def kernel(block: np.ndarray, other: np.ndarray) -> np.ndarray:
            if block.size and other.size:
                raise ValueError("no light")
            return block

        return xr.apply_ufunc(
            kernel, spectra, dark, dask="parallelized", output_dtypes=[spectra.dtype]
        )

    with pytest.raises(StepError, match="no light"):
        mains["raw_data"].usid.process(broken, dark=mains["flat"]).run()
