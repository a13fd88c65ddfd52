"""Blocks computed piece by piece: the same values as by dask, where that is sure, else by dask."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.model import pieces
from usidx.model.pieces import piece_shape
from usidx.process.planning.bind import bind
from usidx.process.running.streaming import Stream, stream_of
from usidx.steps import fft_filter, mean, peak_response, sho_fit, sho_guess
from usidx.testing import make_main

MAIN = "Measurement_000/Channel_000/Raw_Data"


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 1024)


def _stream(function: Any, source: xr.DataArray, **parameters: Any) -> Stream | None:
    step = usidx.step("Tried", function, version="1", per_position=True)
    return stream_of(bind(step, source, parameters, memory=200_000))


def test_streamed_values_are_those_of_the_whole(path: str, truth: xr.DataArray) -> None:
    process = usidx.open(path, MAIN).usid.process(fft_filter, high=0.2e-3, order=2)
    assert stream_of(process.plan) is not None
    result = process.run(memory=80 * 1024, workers=2)
    expected = fft_filter(truth, high=0.2e-3, order=2)
    np.testing.assert_array_equal(result.open().values, expected.values)


def test_several_outputs_and_complex_values_are_streamed(tmp_path: pathlib.Path) -> None:
    main = make_main((7, 11, 24), dtype="complex64")
    source = usidx.open(usidx.to_h5usid(main, tmp_path / "scan.h5"), "Raw_Data")
    process = source.usid.process(sho_guess)
    assert stream_of(process.plan) is not None
    found, expected = process.run().open(), sho_guess(main)
    assert len(found) == len(expected) == 5
    for name, values in zip(expected, found.values(), strict=True):
        np.testing.assert_allclose(values, expected[name], rtol=1e-4)


def test_fits_are_streamed_whose_functions_have_several_results(tmp_path: pathlib.Path) -> None:
    main = make_main((7, 11, 24), dtype="complex64")
    source = usidx.open(usidx.to_h5usid(main, tmp_path / "scan.h5"), "Raw_Data")
    process = source.usid.process(sho_fit)
    assert stream_of(process.plan) is not None
    found, expected = process.run().open()["Fit"], sho_fit(main)
    assert len(found.data_vars) == 5
    for name, values in found.data_vars.items():
        field = str(name).partition(" [")[0]
        np.testing.assert_allclose(values, expected[field], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(13, 17, 8), (1, 1, 8), (300, 8), (3, 5, 7, 4)])
def test_grids_of_any_shape_are_covered(shape: tuple[int, ...], tmp_path: pathlib.Path) -> None:
    dims = ("Z", "Y", "X")[-len(shape) + 1 :]
    values = np.random.default_rng(1).random(shape, np.float32)
    main = xr.DataArray(values, dims=(*dims, "Frequency"), name="Raw_Data").usid.assign_roles(
        position=list(dims)
    )
    source = usidx.open(usidx.to_h5usid(main, tmp_path / "any.h5"), "Raw_Data")
    result = source.usid.process(peak_response).run(memory="2 kB", workers=1)
    assert stream_of(source.usid.process(peak_response).plan) is not None
    np.testing.assert_array_equal(result.open().values, abs(values).max(-1))


class TestWhatDependsOnMore:
    """Than the values of a piece is left to dask, though the step promised otherwise."""

    @pytest.fixture
    def source(self, hdf5_path: str) -> xr.DataArray:
        return usidx.open(hdf5_path, MAIN)

    def test_coordinates_of_the_positions(self, source: xr.DataArray) -> None:
        assert _stream(lambda da: da * da.X, source) is None
        assert _stream(lambda da: da.where(da.Y.mean() < da.Y), source) is None

    def test_other_positions(self, source: xr.DataArray) -> None:
        assert _stream(lambda da: da - da.mean("Y"), source) is None
        assert _stream(lambda da: da.shift(X=1), source) is None
        assert _stream(lambda da: da.isel(X=slice(None, None, -1)), source) is None

    def test_the_number_of_the_block(self, source: xr.DataArray) -> None:
        def numbered(da: xr.DataArray) -> xr.DataArray:
            def add(block: Any, block_id: Any = None) -> Any:
                return block + sum(block_id)

            return da.copy(data=da.data.map_blocks(add, dtype=da.dtype))

        assert _stream(numbered, source) is None

    def test_an_array_that_has_the_same_ends(self, source: xr.DataArray) -> None:
        mask = np.zeros((16, 20), bool)
        mask[5, 5] = True
        known = xr.DataArray(mask, dims=("Y", "X"))
        assert _stream(lambda da: da.where(known), source) is None

    def test_but_spectroscopic_coordinates_do_not_hinder(self, source: xr.DataArray) -> None:
        assert _stream(lambda da: da * da.Frequency, source) is not None

    def test_without_a_promise(self, source: xr.DataArray) -> None:
        step = usidx.step("Tried", lambda da: 2 * da, version="1")
        assert stream_of(bind(step, source, {})) is None

    def test_an_array_made_of_the_main(self, source: xr.DataArray) -> None:
        step = usidx.step("Tried", lambda da: 2 * da, version="1", per_position=True)
        assert stream_of(bind(step, source + 1, {})) is None


def test_a_stream_is_small_and_travels(hdf5_path: str) -> None:
    stream = stream_of(usidx.open(hdf5_path, MAIN).usid.process(peak_response).plan)
    assert stream is not None
    assert len(pickle.dumps(stream)) < 20_000


def test_only_positions_that_are_missing_are_computed(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path, MAIN)
    result = source.usid.process(peak_response).run(memory="20 kB", workers=1)
    group = f"{result.path}"
    with h5py.File(hdf5_path, "r+") as file:
        marks = file[group]["completed_positions"]
        marks[:40] = 0
        file[group].attrs["usid_status"] = "partial"
        main = next(each for each in file[group].values() if each.dtype == "f4")
        main[:] = -1
    result.resume(memory="20 kB", workers=1)
    with h5py.File(hdf5_path, "r") as file:
        values = next(each for each in file[group].values() if each.dtype == "f4")[:]
    assert (values[:40] >= 0).all()
    assert (values[-40:] == -1).all()


def test_pieces_divide_a_block_evenly_where_they_can() -> None:
    assert piece_shape((16, 512), 16) == (1, 64)
    assert piece_shape((509,), 256) == (4,)
    assert piece_shape((2, 3), 4096) == (1, 1)


def test_means_are_streamed_where_pieces_have_all_they_need(path: str, truth: xr.DataArray) -> None:
    source = usidx.open(path, MAIN)
    over_spectra = source.usid.process(mean)
    assert stream_of(over_spectra.plan) is not None
    np.testing.assert_allclose(over_spectra.run().open(), truth.mean("Frequency"), rtol=1e-6)
    assert stream_of(source.usid.process(mean, over="Y").plan) is None
    rows = source.usid.process(mean, over="X")  # a row at a time
    np.testing.assert_allclose(rows.run().open(), truth.mean("X"), rtol=1e-6)


def test_pending_blocks_are_counted_without_making_them(hdf5_path: str) -> None:
    from usidx.process.running.work import count_pending, units_of

    class Writer:
        def done(self) -> np.ndarray:
            marks = np.ones((16, 20), bool)
            marks[3, 4] = marks[15] = False
            return marks

    plan = bind(peak_response, usidx.open(hdf5_path, MAIN), {}, memory=40_000)
    (output,) = plan.outputs
    assert output.block[0] < 16
    writers: Any = {output.name: Writer()}
    assert count_pending(plan, writers) == sum(1 for _ in units_of(plan, writers)) == 2
