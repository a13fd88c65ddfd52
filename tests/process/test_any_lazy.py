"""Any lazy result: over positions, across them, of several outputs, on both sides, in each form.

Each is computed by NumPy alone as well. Each is stopped after its first block and gone on with.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.exporting import to_h5usid, to_zarr
from usidx.step import step
from usidx.testing import make_main

Arrays = dict[str, np.ndarray]
SHAPE = (8, 10, 16)


def over_positions(da: xr.DataArray) -> xr.Dataset:
    dims = da.usid.position_dims
    return xr.Dataset({"Mean": da.mean(dims), "Largest": da.max(dims)})


def over_positions_np(values: np.ndarray) -> Arrays:
    flat = values.reshape(-1, values.shape[-1])
    return {"Mean": flat.mean(axis=0, dtype="f8"), "Largest": flat.max(axis=0)}


def decomposition(da: xr.DataArray) -> xr.Dataset:
    """Maps, spectra and strengths of the three largest components of an SVD."""
    dims = da.usid.position_dims
    (spectral,) = da.usid.spectroscopic_dims
    rows = da.stack(row=dims, create_index=False) if len(dims) > 1 else da.rename({dims[0]: "row"})
    matrix = rows.transpose("row", spectral).data.astype("f8").rechunk((20, -1))
    u, s, v = dask.array.linalg.svd(matrix)
    # the sign of a component is anybody's guess
    sign = dask.array.sign(v[:3].sum(axis=1))
    shape = tuple(da.sizes[dim] for dim in dims)
    maps = (u[:, :3] * s[:3] * sign).reshape((*shape, 3))
    labels = da.isel({spectral: 0}, drop=True).coords
    spectra = xr.DataArray(v[:3] * sign[:, None], dims=("Component", spectral),
                           coords={spectral: da[spectral]})  # fmt: skip
    return xr.Dataset(
        {
            "Maps": xr.DataArray(maps, dims=(*dims, "Component"), coords=labels),
            "Spectra": spectra,
            "Strength": xr.DataArray(s[:3], dims="Component"),
        }
    )


def decomposition_np(values: np.ndarray) -> Arrays:
    flat = values.reshape(-1, values.shape[-1]).astype("f8")
    u, s, v = np.linalg.svd(flat, full_matrices=False)
    sign = np.sign(v[:3].sum(axis=1))
    maps = (u[:, :3] * s[:3] * sign).reshape(*values.shape[:-1], 3)
    return {"Maps": maps, "Spectra": v[:3] * sign[:, None], "Strength": s[:3]}


def neighbours(da: xr.DataArray) -> xr.DataArray:
    """Each spectrum and half of each of its four neighbours; of none at the edges."""

    def kernel(block: np.ndarray) -> np.ndarray:
        out = block.copy()
        out[1:] += block[:-1] / 2
        out[:-1] += block[1:] / 2
        out[:, 1:] += block[:, :-1] / 2
        out[:, :-1] += block[:, 1:] / 2
        return out

    filtered = da.data.map_overlap(kernel, depth={0: 1, 1: 1}, boundary=0)
    return da.copy(data=filtered)


def neighbours_np(values: np.ndarray) -> Arrays:
    wide = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return {"": values + around / 2}


def fft_of_the_map(da: xr.DataArray) -> xr.DataArray:
    whole = da.chunk({"Y": -1, "X": -1, "Frequency": 4})
    return whole.copy(data=dask.array.fft.fft2(whole.data, axes=(0, 1)))


def fft_of_the_map_np(values: np.ndarray) -> Arrays:
    return {"": np.fft.fft2(values.astype("f8"), axes=(0, 1))}


def aligned(da: xr.DataArray) -> xr.DataArray:
    """Rows moved along X such that their brightest places are where that of the first row is."""
    sums = da.sum("Frequency")
    shift = sums.chunk({"X": -1}).argmax("X") - sums.isel(Y=0).chunk({"X": -1}).argmax("X")

    def moved(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
        out = np.empty_like(rows)
        for place in np.ndindex(by.shape):
            out[place] = np.roll(rows[place], -by[place], axis=0)
        return out

    return xr.apply_ufunc(
        moved,
        da.chunk({"X": -1, "Frequency": -1}),
        shift,
        input_core_dims=[["X", "Frequency"], []],
        output_core_dims=[["X", "Frequency"]],
        dask="parallelized",
        output_dtypes=[da.dtype],
    ).assign_attrs(da.attrs)


def aligned_np(values: np.ndarray) -> Arrays:
    brightest = values.sum(axis=2).argmax(axis=1)
    rows = [np.roll(row, brightest[0] - at, axis=0) for row, at in zip(values, brightest)]
    return {"": np.stack(rows)}


def both_sides(da: xr.DataArray) -> xr.DataArray:
    return da.coarsen(Y=2, X=5, Frequency=4).max()


def both_sides_np(values: np.ndarray) -> Arrays:
    return {"": values.reshape(4, 2, 2, 5, 4, 4).max(axis=(1, 3, 5))}


def sides_exchanged(da: xr.DataArray) -> xr.DataArray:
    dims = da.usid.position_dims
    plain = da.drop_vars(list(da.coords)).chunk({"Frequency": 4} | dict.fromkeys(dims, -1))
    return (plain + 1).usid.assign_roles(position=["Frequency"], spectroscopic=list(dims))


def sides_exchanged_np(values: np.ndarray) -> Arrays:
    return {"": np.moveaxis(values, -1, 0) + 1}


def less_the_mean(da: xr.DataArray) -> xr.DataArray:
    return da - da.mean(da.usid.position_dims)


def less_the_mean_np(values: np.ndarray) -> Arrays:
    axes = tuple(range(values.ndim - 1))
    return {"": values - values.mean(axis=axes, dtype="f8")}


ANYWHERE = [
    (over_positions, over_positions_np),
    (decomposition, decomposition_np),
    (less_the_mean, less_the_mean_np),
]
ON_A_MAP = [
    (neighbours, neighbours_np),
    (fft_of_the_map, fft_of_the_map_np),
    (aligned, aligned_np),
    (both_sides, both_sides_np),
    (sides_exchanged, sides_exchanged_np),
]
CASES = [
    pytest.param(kind, form, *each, id=f"{kind}-{form}-{each[0].__name__}")
    for kind, form, cases in [
        ("h5", "nd", [*ANYWHERE, *ON_A_MAP]),
        ("zarr", "nd", ON_A_MAP),
        ("h5", "2d", ANYWHERE),
        ("zarr", "2d", ANYWHERE[1:2]),
        ("h5", "scattered", ANYWHERE[:2]),
        ("zarr", "scattered", ANYWHERE),
    ]
    for each in cases
]


def scattered(truth: xr.DataArray) -> xr.DataArray:
    """61 of the spectra of a map, in no order, so that they are no grid."""
    chosen = np.random.default_rng(5).permutation(80)[:61]
    return truth.usid.to_2d().isel(position=chosen)


@pytest.fixture(scope="module")
def truth() -> xr.DataArray:
    return make_main(SHAPE)


def opened(kind: str, form: str, truth: xr.DataArray, folder: pathlib.Path) -> xr.DataArray:
    write: Callable[..., str] = {"h5": to_h5usid, "zarr": to_zarr}[kind]
    made = scattered(truth) if form == "scattered" else truth
    path = write(made, folder / f"scan.{kind}")
    if form == "2d":
        return usidx.open(path, form="2d", chunks={"position": 10})
    return usidx.open(path, chunks={"Y": 1} if form == "nd" else {"position": 10})


@pytest.mark.parametrize(("kind", "form", "make", "by_numpy"), CASES)
def test_any_lazy_result(
    kind: str,
    form: str,
    make: Callable[[xr.DataArray], Any],
    by_numpy: Callable[[np.ndarray], Arrays],
    truth: xr.DataArray,
    tmp_path: pathlib.Path,
) -> None:
    da = opened(kind, form, truth, tmp_path)
    lazy = make(da)
    small = {"memory": "120 kB", "workers": 2}
    done: list[int] = []

    def stop(event: Any) -> None:
        done.append(event.done)
        raise RuntimeError("enough for now")

    with pytest.raises(RuntimeError, match="enough for now"):
        da.usid.save(lazy, "Any", on_block=stop, **small)
    (begun,) = da.usid.results()
    marked = begun.done
    assert marked >= done[0] > 0
    blocks: list[Any] = []
    result = da.usid.save(lazy, "Any", on_block=blocks.append, **small)
    assert (result, result.status) == (begun, "complete")
    assert sum(each.positions for each in blocks) == result.total - marked
    expected = by_numpy(da.values)
    found = result.open()
    for name, values in expected.items():
        stored = found if not name else found[name]
        stored = stored[name] if isinstance(stored, xr.DataTree) else stored
        np.testing.assert_allclose(
            np.asarray(stored).reshape(values.shape), values, rtol=2e-4, atol=2e-5
        )
    assert len(result.mains) == (1 if isinstance(found, xr.Dataset) else len(expected))
    assert da.usid.save(make(da), "Any", **small) == result


@pytest.mark.parametrize("kind", ["h5", "zarr"])
@pytest.mark.parametrize(
    ("make", "by_numpy", "memory"),
    [(neighbours, neighbours_np, "20 kB"), (decomposition, decomposition_np, "120 kB")],
)
def test_a_step_of_that_kind_resumes_itself(
    kind: str,
    make: Any,
    by_numpy: Any,
    memory: str,
    truth: xr.DataArray,
    tmp_path: pathlib.Path,
) -> None:
    da = opened(kind, "nd", truth, tmp_path)
    mine = step("Mine", make, version="1")

    def stop(event: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        da.usid.process(mine).run(on_block=stop, memory=memory, workers=1)
    (begun,) = da.usid.results()
    assert begun.status == "partial"
    done = begun.resume(step=mine, workers=2)
    assert done.status == "complete"
    for name, values in by_numpy(truth.values).items():
        found = done.open() if not name else done.open()[f"{name}/{name}"]
        np.testing.assert_allclose(
            np.asarray(found).reshape(values.shape), values, rtol=2e-4, atol=2e-5
        )


def test_a_decomposition_has_its_dimensions(truth: xr.DataArray, tmp_path: pathlib.Path) -> None:
    da = opened("h5", "nd", truth, tmp_path)
    found = da.usid.save(decomposition(da), "SVD").open()
    maps, spectra = found["Maps/Maps"], found["Spectra/Spectra"]
    assert maps.usid.position_dims == ("Y", "X")
    assert maps.usid.spectroscopic_dims == ("Component",)
    assert spectra.usid.position_dims == ("Component",)
    assert spectra.usid.spectroscopic_dims == ("Frequency",)
    np.testing.assert_array_equal(spectra.Frequency, truth.Frequency)
    assert spectra.Frequency.attrs["units"] == "Hz"
    np.testing.assert_allclose(maps.X, truth.X, rtol=1e-6)
