"""The contract of stores, kept by each of them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import h5py
import numpy as np
import pytest

from tests.stores.contract import Kind, StoreContract
from usidx.model.ancillary import file_labels, file_units, index_matrix, value_matrix
from usidx.model.main import MainSpec
from usidx.stores.hdf5 import HDF5Store
from usidx.stores.zarr import ZarrStore


def make_zarr(
    folder: pathlib.Path,
    mains: Sequence[tuple[MainSpec, Any]],
    *,
    chunk: Callable[[tuple[int, ...]], tuple[int, ...]] = lambda shape: (2, *shape[1:]),
    shard: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None,
    zarr_format: Any = 3,
) -> str:
    from usidx.stores.zarr.draft import draft

    path = str(folder / "scan.zarr")
    with draft(path, group=None, overwrite=False, zarr_format=zarr_format) as new:
        for spec, values in mains:
            shards = None if shard is None else shard(spec.shape)
            targets = new.add_main(spec, chunk(spec.shape), shards=shards)
            names = spec.dtype.names
            for place, target in enumerate(targets):
                target[...] = values if names is None else values[names[place]]
    return path


def make_hdf5(folder: pathlib.Path, mains: Sequence[tuple[MainSpec, Any]]) -> str:
    """An h5USID file, written with h5py alone."""
    path = str(folder / "scan.h5")
    with h5py.File(path, "w") as file:
        for number, (spec, values) in enumerate(mains):
            group = file.require_group(spec.parent)
            main = group.create_dataset(spec.name, data=in_file_order(spec, values))
            main.attrs.update({"quantity": spec.quantity, "units": spec.units, **spec.attrs})
            for side, name in ((spec.position, "Position"), (spec.spectroscopic, "Spectroscopic")):
                for kind, matrix in (("Indices", index_matrix), ("Values", value_matrix)):
                    rows = matrix(side) if name == "Position" else matrix(side).T
                    ancillary = group.create_dataset(f"{name}_{kind}_{number}", data=rows)
                    ancillary.attrs["labels"] = np.array(file_labels(side), dtype="S")
                    ancillary.attrs["units"] = np.array(file_units(side), dtype="S")
                    main.attrs[f"{name}_{kind}"] = ancillary.ref
    return path


def in_file_order(spec: MainSpec, values: Any) -> Any:
    """The 2-D form of N-D values, rows and columns as they were measured."""
    flat = values.reshape(spec.shape_2d)
    rows = np.empty_like(flat)
    order = spec.position.order
    rows[slice(None) if order is None else order] = flat
    return rows


HDF5 = Kind("hdf5", make_hdf5, lambda path: HDF5Store(path))
ZARR = Kind("zarr", make_zarr, lambda path: ZarrStore(path))
V2 = Kind("zarr v2", partial(make_zarr, zarr_format=2), lambda path: ZarrStore(path))
# tiles cut every axis; chunks and shards go on behind the ends of the array
TILES = Kind(
    "tiles",
    partial(make_zarr, chunk=lambda shape: tuple(-(-size // 2) + 1 for size in shape)),
    lambda path: ZarrStore(path),
)
SHARDS = Kind(
    "shards",
    partial(
        make_zarr,
        chunk=lambda shape: (1,) * len(shape),
        shard=lambda shape: (3, *((2,) * (len(shape) - 1))),
    ),
    lambda path: ZarrStore(path),
)


@pytest.fixture(params=[HDF5, ZARR, V2, TILES, SHARDS], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A kind of store."""
    found: Kind = request.param
    return found


class TestContract(StoreContract):
    """Every promise, over every kind of store."""
