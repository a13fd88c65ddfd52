"""Datasets that are no Mains in a Zarr store: an array, or a group of one array for each field."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from usidx.model.dimension import Array
from usidx.stores.leaves.attributes import pack
from usidx.stores.leaves.leaf import VERSION
from usidx.stores.leaves.values import (
    Indexed,
    as_text,
    check_values,
    chunk_of,
    plain_values,
    row_blocks,
)
from usidx.stores.zarr.create import codecs_of, options_of
from usidx.stores.zarr.files import Files
from usidx.stores.zarr.nodes import ZarrFormat, group_node, write_node

RECORDS = "records"
DATASET = "dataset"


def write_dataset(
    folder: str,
    values: Indexed,
    dims: Sequence[str],
    attrs: Mapping[str, Any],
    zarr_format: ZarrFormat = 3,
) -> None:
    """Make a dataset with all its values, a few rows at a time.

    Records become a group with an array for each field; text of any kind becomes UTF-8.

    Parameters
    ----------
    folder : of the new node; its parent is there
    values : of any shape
    dims : names of its axes
    attrs : of the dataset
    zarr_format : of the store

    Raises
    ------
    OptionError : for values, or attributes, that Zarr has no type for
    """
    place = os.path.basename(folder)
    check_values(values.dtype, place)
    plain, exact = pack(attrs, place)
    units = attrs.get("units")
    if isinstance(units, str) and "since" not in units:
        plain["units"] = units
    entry: dict[str, Any] = {"version": VERSION, "id": uuid.uuid4().hex, "attrs": exact}
    names = values.dtype.names
    if names is None:
        entry["kind"] = DATASET
        entry["dtype"] = "text" if values.dtype.kind in "OSUT" else values.dtype.str
        array = _array(
            folder, values.shape, values.dtype, dims, {**plain, "usid": entry}, zarr_format
        )
        for key in row_blocks(values.shape, values.dtype.itemsize):
            array[key if key else ...] = _block(values, key, array.dtype)
        return
    os.makedirs(folder)
    keys = [f"field_{number}" for number in range(len(names))]
    entry["kind"] = RECORDS
    entry["fields"] = [
        {"name": name, "key": key, "dtype": values.dtype[name].str}
        for name, key in zip(names, keys, strict=True)
    ]
    arrays = [
        _array(os.path.join(folder, key), values.shape, values.dtype[name], dims,
               {"long_name": name}, zarr_format)
        for name, key in zip(names, keys, strict=True)
    ]  # fmt: skip
    for key in row_blocks(values.shape, values.dtype.itemsize):
        block = plain_values(values[key])
        for name, array in zip(names, arrays, strict=True):
            array[key if key else ...] = block[name]
    write_node(folder, group_node({**plain, "usid": entry}, zarr_format), wait=False)


def _block(values: Indexed, key: Any, dtype: np.dtype[Any]) -> Array:
    block = plain_values(values[key])
    return as_text(block).astype(np.dtypes.StringDType()) if dtype.kind == "T" else block


def _array(
    folder: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    dims: Sequence[str],
    attrs: Mapping[str, Any],
    zarr_format: ZarrFormat,
) -> zarr.Array[Any]:
    text = dtype.kind in "OSUT"
    chunks = chunk_of(shape, 64 if text else dtype.itemsize)
    return zarr.create_array(
        Files(folder),
        shape=shape,
        chunks=chunks,
        dtype=str if text else np.dtype(dtype.newbyteorder("=").str),
        config={"write_empty_chunks": True},
        zarr_format=zarr_format,
        **options_of(
            zarr_format,
            dims,
            attrs,
            {"compressors": "auto"} if text else codecs_of("zstd", chunks, dtype, zarr_format),
            fill="" if text else dtype.type(0),
        ),
    )
