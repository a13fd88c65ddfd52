"""What is in the sources of a result, as digests of their values.

The identity of a Main, which is known as soon as it is opened, has a sample of its values in it.
Here much more of them is read, when a run begins: somebody who edits a source in place gets
another result, not the one that was there before.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from usidx.arrays.origin import Origin
from usidx.errors import PlanError, SourceChangedError
from usidx.model.blocks import block_shape, blocks_of
from usidx.model.dimension import Array
from usidx.model.layout import Layout
from usidx.process.planning.plan import Plan
from usidx.readers import store_behind
from usidx.stores.base import ResultRecord, StoredMain
from usidx.stores.keeping import keeping_open

# A Main up to this many bytes is read whole, of a larger one as many pieces, evenly spread.
WHOLE = 64 * 2**20
PIECES, PIECE = 128, 64 * 1024
# Where a piece means a chunk to decompress, fewer of them.
_PIECES_OF_CHUNKS = 16
ATTRIBUTE = "usid_content"

log = logging.getLogger("usidx")

Key = tuple[slice, ...]


def content_of(plan: Plan) -> dict[str, str]:
    """Digest of the values of each source of a plan, by the parameter that it is.

    The first source is "", those of a result that was made already are "#1", "#2" and so on. A
    source that was made of Mains lazily has their digests, and one without any is left out.
    """
    roles = {"": plan.source} | {each.name: each.source for each in plan.inputs}
    roles |= {f"#{number}": each for number, each in enumerate(plan.further, start=1)}
    known: dict[tuple[str, str], str] = {}
    found: dict[str, str] = {}
    for role, source in roles.items():
        for origin in source.mains:
            place = origin.store, origin.main
            known[place] = known.get(place) or digest_of(origin)
        if source.mains:
            found[role] = "+".join(known[each.store, each.main] for each in source.mains)
    return found


def recorded_content(record: ResultRecord) -> Mapping[str, str]:
    """What `content_of` gave when a result group was made; {} where it does not say."""
    try:
        told = json.loads(str(record.attrs.get(ATTRIBUTE, "{}")))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def changed(content: Mapping[str, str], record: ResultRecord) -> tuple[str, ...]:
    """The sources whose values are others than when the group was made, by their parameters."""
    then = recorded_content(record)
    return tuple(role for role, digest in content.items() if role in then and then[role] != digest)


def of_the_same_values(plan: Plan, records: Sequence[ResultRecord]) -> tuple[ResultRecord, ...]:
    """Those results that were made of the values that the sources of a plan have now."""
    if not any(map(recorded_content, records)):
        return tuple(records)
    content = content_of(plan)
    for each in records:
        if changed(content, each):
            log.info("the source of %s was changed since it was made", each.group)
    return tuple(each for each in records if not changed(content, each))


def check_content(plan: Plan, record: ResultRecord) -> None:
    """Nothing, where the sources of a plan have the values they had when a group was begun.

    Raises
    ------
    PlanError : naming the source that was changed
    """
    if not recorded_content(record):
        return
    for role in changed(content_of(plan), record):
        named = f"parameter {role!r}" if role and not role.startswith("#") else "its source"
        raise PlanError(
            f"{record.name!r} cannot be resumed: the values of {named} are no longer those it was "
            f"begun with. A run of {plan.tool!r} makes a new group"
        )


def digest_of(origin: Origin, first: Layout | None = None) -> str:
    """Digest of the values of a Main: of all up to 64 MiB, else of pieces that are spread evenly.

    Parameters
    ----------
    origin : the Main
    first : positions that it begins with, to have the digest that it had with these alone

    Raises
    ------
    SourceChangedError : where the Main is another one than when it was opened
    """
    with keeping_open():
        stored = store_behind(origin).open_main(origin.main)
    # A part may have been taken of a result that others go on with.
    if stored.identity != origin.identity and stored.completed is None:
        raise SourceChangedError(
            f"{origin.main!r} in {origin.store!r} is not what it was when it was opened; open it "
            "again"
        )
    if first is not None:
        stored = replace(stored, spec=replace(stored.spec, position=first))
    return f"{'all' if stored.spec.nbytes <= WHOLE else 'some'}:{_sum_of(stored)}"


def _sum_of(stored: StoredMain) -> str:
    """Of the values in a file that is opened once, where that is possible."""
    array: Any = stored.array
    reading: Any = getattr(array, "reading", lambda: None)()
    if reading is None:
        return _summed(array.__getitem__, stored)

    def read(key: Key) -> Array:
        shape = tuple([part.stop - part.start for part in key])
        found: Array = reading.read(key, np.empty(shape, array.dtype))
        return found

    with reading:
        try:
            found = _summed(read, stored)
        except Exception:
            if reading.holds():
                raise
        else:
            if reading.holds():
                return found
    # the file changed meanwhile: each part with a look at it
    return _summed(array.__getitem__, stored)


def _summed(read: Callable[[Key], Array], stored: StoredMain) -> str:
    digest = hashlib.sha256()
    for key in _keys(stored):
        digest.update(np.ascontiguousarray(read(key)).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def _keys(stored: StoredMain) -> Iterator[Key]:
    spec = stored.spec
    n_position, itemsize = len(spec.position.shape), spec.dtype.itemsize
    anywhere = bool(getattr(stored.array, "reads_anywhere", False))
    if spec.nbytes <= WHOLE:
        # Runs of positions, so that the digest is the same however the values are stored.
        budget = 2**20 if anywhere else 2**24
        shape = block_shape(spec.shape, n_position, itemsize, budget=budget)
        yield from (block.key for block in blocks_of(spec.shape, shape))
        return
    shape = block_shape(spec.shape, n_position, itemsize, budget=PIECE, most=2**62)
    rows = spec.position.size
    count = min(rows, PIECES if anywhere else _PIECES_OF_CHUNKS)
    for number in range(count):
        first = number * (rows - 1) // max(1, count - 1)
        corner = np.unravel_index(first, spec.position.shape)
        position = tuple(
            slice(int(start), min(int(start) + size, whole))
            for start, size, whole in zip(corner, shape, spec.position.shape, strict=False)
        )
        yield position + _columns(spec.spectroscopic.shape, itemsize, number)


def _columns(shape: tuple[int, ...], itemsize: int, number: int) -> tuple[slice, ...]:
    """Where one position is more than a piece, a part of it that moves on from piece to piece."""
    part = block_shape(shape, len(shape), itemsize, budget=PIECE, most=2**62)
    keys = [-(-whole // size) for whole, size in zip(shape, part, strict=True)]
    place = np.unravel_index(number % int(np.prod(keys)), keys)
    return tuple(
        slice(int(at) * size, min((int(at) + 1) * size, whole))
        for at, size, whole in zip(place, part, shape, strict=True)
    )


def as_attribute(content: Mapping[str, Any]) -> str:
    """Text that `recorded_content` reads."""
    return json.dumps(dict(content), sort_keys=True)
