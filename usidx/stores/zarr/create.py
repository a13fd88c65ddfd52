"""New leaf groups: the arrays of a Main, its coordinates and its metadata."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from usidx.errors import OptionError
from usidx.model.dimension import Array
from usidx.model.main import MainSpec
from usidx.stores.leaves.leaf import ExtraCoordinate, Leaf, describe
from usidx.stores.zarr.files import Files
from usidx.stores.zarr.nodes import group_node, read_node, write_node

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

    Raises
    ------
    OptionError : for an unknown compression, or attributes that Zarr cannot keep
    InvalidMainError : for a dtype that Zarr v3 cannot hold
    """
    leaf = describe(spec, extras)
    group = zarr.create_group(Files(folder), zarr_format=3)
    attrs = dict(leaf.attrs)
    for key, dtype in leaf.fields:
        group.create_array(
            key,
            shape=spec.shape,
            chunks=chunks,
            shards=shards,
            dtype=dtype,
            # plain xarray then shows what was not computed yet as NaN
            fill_value=_fill(dtype),
            dimension_names=leaf.dims,
            attributes=attrs,
            compressors=codecs_of(compression, chunks, dtype),
        )
    for column in leaf.columns:
        _create_column(group, column.key, column.dims, column.values, column.attrs)
    entry = {**leaf.entry, "id": uuid.uuid4().hex, "marks": leaf.marks if marked else None}
    if marked:
        n_position = len(spec.position.shape)
        group.create_array(
            leaf.marks,
            shape=spec.position.shape,
            chunks=chunks[:n_position],
            dtype=np.uint8,
            fill_value=0,
            dimension_names=leaf.dims[:n_position],
            attributes={"long_name": "1 where computed", "usid_role": "position"},
            compressors=[Crc32cCodec()],
        )
    names = [key for key, _ in leaf.fields] + [column.key for column in leaf.columns]
    _close_leaf(folder, entry, [*names, leaf.marks] if marked else names)
    return leaf


def _close_leaf(folder: str, entry: Mapping[str, Any], names: Sequence[str]) -> None:
    """Write the group's own metadata with copies of those of its arrays, for plain xarray."""
    node = group_node({"usid": dict(entry)})
    copies = {name: read_node(os.path.join(folder, name)) for name in names}
    node["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": {name: copy for name, copy in copies.items() if copy is not None},
    }
    write_node(folder, node, wait=False)  # nothing is, in a group that is being made


def _create_column(
    group: zarr.Group, key: str, dims: tuple[str, ...], values: Array, attrs: Mapping[str, Any]
) -> None:
    chunks = tuple(max(1, size) for size in values.shape)
    if values.size > _COLUMN_CHUNK and values.ndim:
        inner = values.size // values.shape[0]
        chunks = (max(1, _COLUMN_CHUNK // inner), *chunks[1:])
    text = values.dtype.kind == "T"
    array = group.create_array(
        key,
        shape=values.shape,
        chunks=chunks,
        dtype=str if text else values.dtype,
        fill_value="" if text else _fill(values.dtype),
        dimension_names=dims,
        attributes=dict(attrs),
        compressors="auto" if text else codecs_of("zstd", chunks, values.dtype),
        config={"write_empty_chunks": True},
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


def codecs_of(compression: Compression, chunks: tuple[int, ...], dtype: np.dtype[Any]) -> list[Any]:
    """Codecs for the bytes of a chunk; the checksum makes a flipped bit an error."""
    if compression not in COMPRESSIONS:
        raise OptionError(f"compression {compression!r} is none of 'lz4', 'zstd' and None")
    if compression is None or int(np.prod(chunks, dtype=float)) * dtype.itemsize > _MOST_IN_BLOSC:
        return [Crc32cCodec()]
    level = 5 if compression == "lz4" else 3
    return [BloscCodec(cname=compression, clevel=level, shuffle="bitshuffle"), Crc32cCodec()]
