"""Everything in a USID-Zarr store that is not as USID asks."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator

import numpy as np
import zarr
from zarr.storage import LocalStore

from usidx.errors import DamagedStoreError, NotUsidError, UnsafeStoreError, UsidError
from usidx.model.form_rules import no_main
from usidx.model.names import parse_result
from usidx.model.result_rules import FailuresFacts, MarksFacts, ResultFacts, check_result
from usidx.model.rules import Findings, Violation
from usidx.stores.base import ResultRecord, StoredMain
from usidx.stores.zarr.failures import failures_facts
from usidx.stores.zarr.nodes import (
    METADATA,
    Node,
    check_inside,
    entry_of,
    folder_of,
    read_node,
    walk,
)
from usidx.stores.zarr.read import is_result, open_main, result

_RESTORE = "restore the store from a copy, or compute it again"
_VALUES_AT_ONCE = 32 * 2**20


def check(root: str, allow: tuple[str, ...] = (), *, values: bool = False) -> Findings:
    """Everything that is not as USID asks in the store at `root`.

    Parameters
    ----------
    allow : folders that links may lead to
    values : whether to read every value, too, which proves checksums

    Raises
    ------
    UnsafeStoreError : where a node or a chunk is a link out of the store
    """
    found: list[Violation] = []
    nodes: dict[str, Node] = {}
    try:
        for path, node in walk(root, allow):
            nodes[path] = node
    except DamagedStoreError as error:
        found.append(_broken("/", error))
    candidates = [path for path, node in nodes.items() if entry_of(node).get("kind") == "main"]
    mains = []
    for path in candidates:
        wrong = list(_check_main(root, path, allow, values))
        found += wrong
        if not wrong:
            mains.append(path)
    groups = [path for path, node in nodes.items() if is_result(path, node)]
    for group in groups:
        found += _check_group(root, group, [each for each in candidates if _in(each, group)])
    if not candidates:
        found.append(no_main("no group that describes a Main"))
    return Findings(tuple(mains), tuple(groups), tuple(dict.fromkeys(found)))


def _in(main: str, group: str) -> bool:
    return main.rpartition("/")[0] == group


def _broken(place: str, error: UsidError) -> Violation:
    return Violation(place, "error", str(error), "what usidx wrote", _RESTORE)


def _check_main(root: str, path: str, allow: tuple[str, ...], values: bool) -> Iterator[Violation]:
    try:
        main = open_main(root, path, allow)
    except UnsafeStoreError:
        raise
    except NotUsidError as error:
        yield Violation(path, "error", str(error), "a version that is known", "use a later usidx")
        return
    except UsidError as error:
        yield _broken(path, error)
        return
    node = read_node(folder_of(root, path))
    keys = [str(each["key"]) for each in entry_of(node)["fields"]] if node else []
    done = None if main.completed is None else np.asarray(main.completed[()])
    for key in keys:
        yield from _check_chunks(root, path, key, done, allow)
    if values:
        yield from _check_values(path, main)


def _check_chunks(
    root: str, path: str, key: str, done: np.ndarray | None, allow: tuple[str, ...]
) -> Iterator[Violation]:
    """Chunks that are missing though their positions are complete; `done` is None where all are."""
    folder = os.path.join(folder_of(root, path), key)
    handle = zarr.open_array(LocalStore(folder, read_only=True), mode="r")
    sizes = handle.shards or handle.chunks
    grid = [-(-size // part) for size, part in zip(handle.shape, sizes, strict=True)]
    missing, first = 0, ""
    for index in itertools.product(*map(range, grid)):
        name = handle.metadata.encode_chunk_key(index)
        file = os.path.join(folder, name)
        check_inside(root, file, allow)
        if os.path.exists(file):
            continue
        region = tuple(slice(i * part, (i + 1) * part) for i, part in zip(index, sizes))
        if done is None or done[region[: done.ndim]].any():
            missing, first = missing + 1, first or name
    if missing:
        found = f"{missing} of {math.prod(grid)} chunks missing, the first {first!r}"
        yield Violation(f"{path}/{key}", "error", found, "every chunk that was written", _RESTORE)


def _check_values(path: str, main: StoredMain) -> Iterator[Violation]:
    grid = [range(0, size, part) for size, part in zip(main.array.shape, main.chunks, strict=True)]
    for start in itertools.product(*grid):
        key = tuple(
            slice(first, min(first + part, size))
            for first, part, size in zip(start, main.chunks, main.array.shape, strict=True)
        )
        try:
            main.array[key]
        except UnsafeStoreError:
            raise
        except UsidError as error:
            yield _broken(path, error)
            return


def _check_group(root: str, group: str, mains: list[str]) -> Iterator[Violation]:
    try:
        record = result(root, group)
    except UnsafeStoreError:
        raise
    except UsidError as error:
        yield _broken(group, error)
        return
    yield from check_result(_result_facts(root, record, mains))


def _result_facts(root: str, record: ResultRecord, mains: list[str]) -> ResultFacts:
    here = [path for store, path in record.sources if not store]
    there = [store for store, _ in record.sources if store]
    parsed = parse_result(record.name, record.main)
    beside = f"{record.group.rpartition('/')[0]}/{record.main}"
    partial = record.status == "partial"
    marks = MarksFacts(
        f"{record.group}@usid_status", (record.total,), "uint8", record.done,
        expected=frozenset({record.total}),
    )  # fmt: skip
    folder = folder_of(root, record.group)
    return ResultFacts(
        path=record.group,
        named=None if parsed is None else (record.main, *parsed),
        tool=record.tool,
        sources=tuple(
            (f"source_{number:03d}", "" if _is_node(root, path) else f"{path!r}, where nothing is")
            for number, path in enumerate(here)
        ),
        other_file=(there[0], os.path.exists(there[0])) if there else None,
        beside=_is_node(root, beside),
        names=tuple(each for each in os.listdir(folder) if not each.startswith(METADATA)),
        mains=tuple(mains),
        marks=(marks,) if partial else (),
        said=None if record.status == "unknown" else record.status,
        failures=tuple(_failures(root, mains)),
    )


def _failures(root: str, mains: list[str]) -> Iterator[FailuresFacts]:
    for path in mains:
        folder = folder_of(root, path)
        node = read_node(folder)
        facts = None if node is None else failures_facts(root, path, folder, node)
        if facts is not None:
            yield facts


def _is_node(root: str, path: str) -> bool:
    try:
        return read_node(folder_of(root, path)) is not None
    except UsidError:
        return False
