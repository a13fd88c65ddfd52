"""Where a step failed, in a Zarr store: an array beside the marks, and the reasons in the metadata.

The array has uint8, the shape and chunks of the marks: 0, or the number of a reason. The "usid"
entry of the leaf group has its name and the reasons. Only whoever holds the result group writes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr

from usidx.model.blocks import blocks_of
from usidx.model.dimension import Array
from usidx.model.result_rules import FailuresFacts
from usidx.stores.failures import SLOTS, FailedAt, Failures, numbered, slots_for
from usidx.stores.zarr.array import ZarrArray, open_array
from usidx.stores.zarr.create import codecs_of, open_to_write, options_of
from usidx.stores.zarr.files import Files
from usidx.stores.zarr.marks import stored_marks
from usidx.stores.zarr.nodes import Node, entry_of, read_node, write_node

KEY = "failures"


def numbers_of(node: Node) -> str:
    """Name of the array of numbers of a leaf group; "" where it has none."""
    told = entry_of(node).get(KEY)
    return str(told.get("numbers", "")) if isinstance(told, dict) else ""


def reasons_of(node: Node) -> tuple[str, ...]:
    """The reasons of a leaf group, in the order of their numbers."""
    told = entry_of(node).get(KEY)
    reasons = told.get("reasons", []) if isinstance(told, dict) else []
    return tuple(map(str, reasons)) if isinstance(reasons, list) else ()


def add_failures(folder: str, *, wait: bool = True) -> None:
    """Make room in the leaf group at `folder`, which has marks, to say where the step fails."""
    node = read_node(folder)
    if node is None or numbers_of(node):
        return
    marks = open_to_write(os.path.join(folder, str(entry_of(node)["marks"])))
    name = "failed_positions"
    while os.path.exists(os.path.join(folder, name)):
        name += "_"
    described = read_node(os.path.join(folder, str(entry_of(node)["marks"]))) or {}
    zarr.create_array(
        Files(os.path.join(folder, name), wait=wait),
        shape=marks.shape,
        chunks=marks.chunks,
        dtype=np.uint8,
        zarr_format=node["zarr_format"],
        **options_of(
            node["zarr_format"],
            described["dimension_names"],
            {"long_name": "0, or the number of a reason", "usid_role": "position"},
            codecs_of(None, marks.chunks, np.dtype(np.uint8), node["zarr_format"]),
            fill=np.uint8(0),
        ),
    )
    entry = {**entry_of(node), KEY: {"numbers": name, "reasons": []}}
    node["attributes"]["usid"] = entry
    copies = node.get("consolidated_metadata", {}).get("metadata")
    if isinstance(copies, dict):
        copies[name] = read_node(os.path.join(folder, name))
    write_node(folder, node, wait=wait)


def record_reasons(folder: str, reasons: Sequence[str]) -> list[int]:
    """The number of each reason in the leaf group at `folder`, where new ones are written."""
    node = read_node(folder)
    if node is None:
        raise FileNotFoundError(folder)
    told = list(reasons_of(node))
    slots, new = slots_for(reasons, (told + [""] * SLOTS)[:SLOTS])
    if new:
        told += [""] * (max(new) - len(told))
        for number, text in new.items():
            told[number - 1] = text
        entry = entry_of(node)
        node["attributes"]["usid"] = {**entry, KEY: {**entry[KEY], "reasons": told}}
        write_node(folder, node)
    return slots


def write_failures(folder: str, failures: FailedAt) -> None:
    """Say where the step failed in a leaf group that is being made, and has marks."""
    add_failures(folder, wait=False)
    slots = record_reasons(folder, failures.reasons)
    node = read_node(folder)
    assert node is not None
    numbers = open_to_write(os.path.join(folder, numbers_of(node)))
    numbers[...] = numbered(failures.numbers, slots)


def prepare(folder: str, *, retry: bool) -> None:
    """Make a leaf group ready to be gone on with: what is not marked has not failed.

    Parameters
    ----------
    retry : whether the positions at which the step failed lose their marks
    """
    node = read_node(folder)
    if node is None or not numbers_of(node):
        return
    numbers = open_to_write(os.path.join(folder, numbers_of(node)))
    marks = open_to_write(os.path.join(folder, str(entry_of(node)["marks"])))
    for block in blocks_of(tuple(marks.shape), tuple(marks.chunks)):
        part = block.key
        try:
            failed = np.asarray(numbers[part])
            done = stored_marks(marks, part)
        except (ValueError, RuntimeError):
            # A power failure took it, and nobody knows what of this is NaN: it is computed again.
            failed, done = np.ones(block.shape, np.uint8), np.zeros(block.shape, bool)
            marks[part] = np.uint8(0)
        if retry and failed.any():
            done = done & (failed == 0)
            marks[part] = done.astype(np.uint8)
        if np.any(failed[~done]):
            numbers[part] = np.where(done, failed, 0).astype(np.uint8)


def count_failed(root: str, folder: str, node: Node, done: Array | None) -> int:
    """How many positions of the leaf group at `folder` failed, of those in `done` (all if None)."""
    numbers = _array(root, folder, node, ())
    if numbers is None:
        return 0
    failed = numbers[(slice(None),) * numbers.ndim] != 0
    return int(np.count_nonzero(failed if done is None else failed & done))


def failures_of(
    root: str, folder: str, node: Node, count: int, allow: tuple[str, ...]
) -> Failures | None:
    """Where the step failed, of a leaf group; None where it did nowhere.

    Parameters
    ----------
    count : at how many positions
    """
    numbers = _array(root, folder, node, allow) if count else None
    return None if numbers is None else Failures(count, numbers, reasons_of(node))


def failures_facts(root: str, path: str, folder: str, node: Node) -> FailuresFacts | None:
    """What there is to be judged of the failures of the leaf group at `folder`; None without any.

    Raises
    ------
    DamagedStoreError : where they cannot be read
    """
    name = numbers_of(node)
    if not name:
        return None
    place = f"{path}/{name}"
    array = read_node(os.path.join(folder, name))
    marks = read_node(os.path.join(folder, str(entry_of(node).get("marks"))))
    if array is None or marks is None or array.get("shape") != marks.get("shape"):
        return FailuresFacts(place, fits=False)
    numbers = _array(root, folder, node, ())
    assert numbers is not None
    found = np.asarray(numbers[(slice(None),) * numbers.ndim])
    done = stored_marks(open_to_write(os.path.join(folder, str(entry_of(node)["marks"]))))
    named = np.array([False, *map(bool, reasons_of(node))] + [False] * 256)[:256]
    unmarked = int(np.count_nonzero((found != 0) & ~done))
    unnamed = int(np.count_nonzero((found != 0) & ~named[found]))
    return FailuresFacts(place, found.dtype == np.uint8, unmarked, unnamed)


def _array(root: str, folder: str, node: Node, allow: tuple[str, ...]) -> ZarrArray | None:
    name = numbers_of(node)
    if not name:
        return None
    kind: np.dtype[Any] = np.dtype(np.uint8)
    return open_array(root, folder, (name,), kind, absent="fill", allow=allow)
