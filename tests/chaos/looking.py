"""What there is in a store that was attacked, seen without usidx where that goes."""

from __future__ import annotations

import hashlib
import os
import pathlib
from typing import Any

import h5py
import numpy as np
import zarr

from tests.chaos import slow
from tests.chaos.children import in_child
from usidx.stores import store_at


def results_of(path: str) -> list[str]:
    """Paths of the result groups, as their names are, without usidx."""
    channel = os.path.dirname(slow.MAIN)
    if os.path.isdir(path):
        names = os.listdir(os.path.join(path, channel))
    else:
        store_at(path).mains()  # a log that waits is applied before other programs read
        with h5py.File(path, "r") as file:
            names = list(file[channel])
    return sorted(f"/{channel}/{each}" for each in names if each.startswith("Raw_Data-"))


def result_values(path: str, group: str) -> np.ndarray[Any, Any]:
    """Values of the result, without usidx; NaN where a chunk is missing."""
    tool = group.rsplit("-", 1)[1].rsplit("_", 1)[0]
    if os.path.isdir(path):
        folder = os.path.join(path, group.strip("/"), tool)
        inside = zarr.open_group(folder, mode="r")
        (values,) = (each[...] for _, each in inside.arrays() if each.ndim == 3)
        return np.asarray(values)
    with h5py.File(path, "r") as file:
        return np.asarray(file[group][tool][()]).reshape(slow.SHAPE)


def marked_rows(path: str, name: str) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Position-shaped marks of the result, by usidx; None where there is none."""

    def look() -> Any:
        store = store_at(path)
        found = store.results("/" + slow.MAIN)
        if not found:
            return None
        done = store.open_main(found[0].mains[0]).completed
        whole = np.ones(slow.SHAPE[:2], bool) if done is None else np.asarray(done[:, :])
        return whole.tolist()

    ended = in_child(look)
    if ended.trouble:
        raise RuntimeError(ended.trouble)
    return None if ended.result is None else np.array(ended.result, bool)


def source_digest(path: str) -> str:
    """Of the bytes of the source: its values in HDF5, every file of it in Zarr."""
    total = hashlib.sha256()
    if os.path.isfile(path):
        store_at(path).mains()
        with h5py.File(path, "r") as file:
            main = file[slow.MAIN]
            total.update(main[()].tobytes() + repr(sorted(main.attrs)).encode())
    else:
        for each in sorted(pathlib.Path(path, slow.MAIN).rglob("*")):
            total.update(each.read_bytes() if each.is_file() else str(each.name).encode())
    return total.hexdigest()
