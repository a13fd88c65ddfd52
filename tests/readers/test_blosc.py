"""Chunks of Zarr by Blosc that are cut short, which it does not notice itself."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from usidx.errors import DamagedStoreError
from usidx.readers.blosc import check_chunks


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_that_are_cut_short(tmp_path: pathlib.Path, version: Any) -> None:
    values = np.random.default_rng(0).integers(0, 99, (6, 8)).astype("f4")
    blosc: Any = BloscCodec() if version == 3 else Blosc()
    root = zarr.open_group(tmp_path / "a", mode="w", zarr_format=version)
    array = root.create_array("b", shape=(6, 8), chunks=(3, 4), dtype="f4", compressors=blosc)
    array[...] = values
    check_chunks(array, str(tmp_path / "a"), (slice(None), slice(None)))
    chunk = tmp_path / "a" / "b" / array.metadata.encode_chunk_key((1, 0))
    whole = chunk.read_bytes()
    for length in (len(whole) - 1, 10, 0):
        chunk.write_bytes(whole[:length])
        with pytest.raises(DamagedStoreError, match=f"it has {length} of"):
            check_chunks(array, str(tmp_path / "a"), (slice(None), 2))
        # those that are not read may be as they are
        check_chunks(array, str(tmp_path / "a"), (slice(0, 3), slice(None)))
        check_chunks(array, str(tmp_path / "a"), (5, slice(4, None)))
    chunk.unlink()
    check_chunks(array, str(tmp_path / "a"), (slice(None),))


def test_other_codecs_know_by_themselves(tmp_path: pathlib.Path) -> None:
    array = zarr.create_array(tmp_path / "a", shape=(6,), chunks=(6,), dtype="f4")
    array[...] = np.arange(6.0)
    (tmp_path / "a" / array.metadata.encode_chunk_key((0,))).write_bytes(b"")
    check_chunks(array, str(tmp_path / "a"), (slice(None),))
