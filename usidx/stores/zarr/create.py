"""New leaf groups: the arrays of a Main, its coordinates and its metadata."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import zarr
from numcodecs import CRC32  # type: ignore[import-untyped]
from numcodecs.blosc import Blosc  # type: ignore[import-untyped]
from zarr.codecs import BloscCodec, Crc32cCodec

from usidx.errors import OptionError
from usidx.model.main import MainSpec
from usidx.stores.leaves.further import ExtraCoordinate
from usidx.stores.leaves.leaf import Column, Leaf, describe
from usidx.stores.zarr.files import Files
from usidx.stores.zarr.nodes import ZarrFormat, group_node, read_node, write_node
from usidx.stores.zarr.version2 import DIMENSIONS

Compression = Literal["lz4", "zstd"] | None
COMPRESSIONS: tuple[Compression, ...] = ("lz4", "zstd", None)
# Blosc counts the bytes of a chunk in a signed 32-bit number.
_MOST_IN_BLOSC = 2**31 - 1
_COLUMN_CHUNK = 2**20


def create_leaf(
    folder: str,
    spec: MainSpec,
    chunks: tuple[int, ...],
    *,
    extras: Sequence[ExtraCoordinate] = (),
    compression: Compression = "lz4",
    marked: bool = False,
    shards: tuple[int, ...] | None = None,
    zarr_format: ZarrFormat = 3,
) -> Leaf:
    """Make the leaf group of `spec` in `folder`, with coordinates but without values.

    Parameters
    ----------
    folder : does not exist yet; its parents are made
    spec : of the Main
    chunks : sizes of one chunk along the N-D axes
    extras : coordinates that the model has no place for
    compression : of the values
    marked : whether positions will be marked complete one by one
    shards : sizes of a file of several chunks, multiples of theirs; a file for each chunk when None
    zarr_format : of the store

    Raises
    ------
    OptionError : for an unknown compression, or attributes that Zarr cannot keep
    InvalidMainError : for a dtype that Zarr cannot hold
    """
    if shards is not None and zarr_format == 2:
        raise OptionError(
            "Zarr v2 has no shards: take shards away, or write zarr_format=3, which has them"
        )
    leaf = describe(spec, extras)
    group = zarr.create_group(Files(folder), zarr_format=zarr_format)
    for key, dtype in leaf.fields:
        group.create_array(
            key,
            shape=spec.shape,
            chunks=chunks,
            shards=shards,
            dtype=dtype,
            **options_of(
                zarr_format,
                leaf.dims,
                leaf.attrs,
                codecs_of(compression, chunks, dtype, zarr_format),
                # plain xarray then shows what was not computed yet as NaN
                fill=_fill(dtype),
            ),
        )
    for column in leaf.columns:
        _create_column(group, column, zarr_format)
    entry = {**leaf.entry, "id": uuid.uuid4().hex, "marks": leaf.marks if marked else None}
    if marked:
        n_position = len(spec.position.shape)
        group.create_array(
            leaf.marks,
            shape=spec.position.shape,
            chunks=chunks[:n_position],
            dtype=np.uint8,
            **options_of(
                zarr_format,
                leaf.dims[:n_position],
                {"long_name": "1 where computed", "usid_role": "position"},
                codecs_of(None, chunks, np.dtype(np.uint8), zarr_format),
                fill=np.uint8(0),
            ),
        )
    names = [key for key, _ in leaf.fields] + [column.key for column in leaf.columns]
    _close_leaf(folder, entry, [*names, leaf.marks] if marked else names, zarr_format)
    return leaf


def _close_leaf(
    folder: str, entry: Mapping[str, Any], names: Sequence[str], zarr_format: ZarrFormat
) -> None:
    """Write the group's own metadata with copies of those of its arrays, for plain xarray."""
    node = group_node({"usid": dict(entry)}, zarr_format)
    copies = {name: read_node(os.path.join(folder, name)) for name in names}
    node["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": {name: copy for name, copy in copies.items() if copy is not None},
    }
    write_node(folder, node, wait=False)  # nothing is, in a group that is being made


def _create_column(group: zarr.Group, column: Column, zarr_format: ZarrFormat) -> None:
    values = column.values
    chunks = tuple(max(1, size) for size in values.shape)
    if values.size > _COLUMN_CHUNK and values.ndim:
        inner = values.size // values.shape[0]
        chunks = (max(1, _COLUMN_CHUNK // inner), *chunks[1:])
    text = values.dtype.kind == "T"
    array = group.create_array(
        column.key,
        shape=values.shape,
        chunks=chunks,
        dtype=str if text else values.dtype,
        config={"write_empty_chunks": True},
        **options_of(
            zarr_format,
            column.dims,
            column.attrs,
            {"compressors": "auto"}
            if text
            else codecs_of("zstd", chunks, values.dtype, zarr_format),
            fill="" if text else _fill(values.dtype),
        ),
    )
    array[...] = values


def open_to_write(folder: str, *, wait: bool = False) -> zarr.Array[Any]:
    """The array in `folder`, which writes chunks of nothing but the fill value like any other.

    With `wait` a chunk is on disk when zarr has written it.
    """
    # zarr 3.1 takes no notice of `config` in open_array.
    array = zarr.open_array(Files(folder, wait=wait), mode="r+")
    return array.with_config({"write_empty_chunks": True})


def _fill(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "c":
        return complex("nan+nanj")
    return np.nan if dtype.kind == "f" else dtype.type(0)


def options_of(
    zarr_format: ZarrFormat,
    dims: Sequence[str],
    attrs: Mapping[str, Any],
    codecs: Mapping[str, Any],
    *,
    fill: Any,
) -> dict[str, Any]:
    """What zarr's `create_array` is told of an array that plain xarray is to read.

    Parameters
    ----------
    dims : names of its axes
    attrs : of the array
    codecs : as `codecs_of` gives them
    fill : value of what was never written
    """
    if zarr_format == 3:
        names = {"dimension_names": list(dims), "attributes": dict(attrs)}
        return {**names, **codecs, "fill_value": fill}
    # In v2 xarray takes whatever equals the fill value for missing: that may only be NaN.
    return {
        "attributes": {**attrs, DIMENSIONS: list(dims)},
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
        **codecs,
        "fill_value": fill if np.asarray(fill).dtype.kind in "fc" else None,
    }


def codecs_of(
    compression: Compression,
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    zarr_format: ZarrFormat = 3,
) -> dict[str, Any]:
    """What becomes of the bytes of a chunk; the checksum makes a flipped bit an error.

    In v2 a chunk goes through one compressor, and filters before it: there Blosc is a filter.
    """
    if compression not in COMPRESSIONS:
        raise OptionError(f"compression {compression!r} is none of 'lz4', 'zstd' and None")
    if int(np.prod(chunks, dtype=float)) * dtype.itemsize > _MOST_IN_BLOSC:
        compression = None
    level = 5 if compression == "lz4" else 3
    if zarr_format == 2:
        blosc = Blosc(cname=compression or "lz4", clevel=level, shuffle=Blosc.BITSHUFFLE)
        return {"filters": [blosc] if compression else None, "compressors": CRC32()}
    if compression is None:
        return {"compressors": [Crc32cCodec()]}
    coded = BloscCodec(cname=compression, clevel=level, shuffle="bitshuffle")
    return {"compressors": [coded, Crc32cCodec()]}
