"""Adding what is new of a scan that goes on to the store of what was there before.

The Main is written aside as a whole, but what is stored already is not computed again, nor copied:
its chunk files get a second name. So the store holds the old Main or the new one, never a mixture.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from usidx.errors import DamagedStoreError, LayoutError, MainNotFoundError, OptionError
from usidx.exporting.moving.chunking import cut
from usidx.exporting.moving.parts import Exportable, Part, parts_of
from usidx.exporting.moving.storing import Progress, blocked, store
from usidx.model.dimension import Array, Dimension, same_values
from usidx.model.layout import Grid, Layout
from usidx.model.main import MainSpec
from usidx.stores import store_at
from usidx.stores.base import StoredMain

# Attributes of a stack that say how its values came about, and that must be the same.
_SAME = ("stack_preprocess",)
_GAPS = "stack_missing"


@dataclass(frozen=True)
class _Behind:
    """A target whose first entries along the slowest axis are there already."""

    target: Any
    start: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.target.shape[0] - self.start, *self.target.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.target.dtype
        return dtype

    def __setitem__(self, key: tuple[slice, ...], values: Array) -> None:
        first = slice(key[0].start + self.start, key[0].stop + self.start)
        self.target[(first, *key[1:])] = values


def extend_zarr(
    obj: Exportable,
    path: str,
    *,
    progress: Progress = False,
    zarr_format: Literal[2, 3] | None = None,
) -> str:
    """Add to a Main in a USID-Zarr store what follows it along the slowest dimension.

    Raises
    ------
    LayoutError : where the array does not begin with what is stored
    OptionError : for more than one Main, and another format than that of the store
    """
    from usidx.stores.zarr.draft import draft

    parts = parts_of(obj)
    if len(parts.mains) != 1:
        raise OptionError(f"extend=True takes one Main, there are {len(parts.mains)}")
    part = _at_home(parts.mains[0], path)
    if _stored(part.spec.path, path).spec.shape == part.spec.shape:
        _check_begins(_stored(part.spec.path, path), part)
        return path
    with draft(path, group=part.spec.path, overwrite=True, zarr_format=zarr_format) as new:
        old = _stored(part.spec.path, path)  # again, as nobody else writes it from here on
        _check_begins(old, part)
        array: Any = old.array
        block, chunk = cut(part, array.chunks)
        keep = old.spec.shape[0] // chunk[0]
        targets = new.add_main(
            part.spec, chunk, extras=part.extras, compression=_compression(array)
        )
        for target, key in zip(targets, array.keys, strict=True):
            _link_chunks(os.path.join(array.folder, key), target, keep)
        start = keep * chunk[0]
        behind = (_rest(block[0], start), *block[1:])
        sources = [blocked(each[start:], behind) for each in part.arrays]
        store(sources, [_Behind(target, start) for target in targets], progress)
    return path


def _at_home(part: Part, path: str) -> Part:
    """`part` at the path of the Main of its name in the store, where that is another."""
    from dataclasses import replace

    from usidx.stores.choosing import resolve

    found = store_at(path)
    main = resolve(found.mains(), part.spec.name, found.path)
    return replace(part, spec=replace(part.spec, path=main.path))


def _stored(main: str, path: str) -> StoredMain:
    found = store_at(path)
    stored = found.open_main(main)
    if not hasattr(stored.array, "keys") or stored.result is not None:
        raise OptionError(f"{main!r} of {path!r} is no raw Main of a Zarr store to be extended")
    return stored


def _rest(sizes: tuple[int, ...], start: int) -> tuple[int, ...]:
    """Sizes of the blocks along an axis from `start` on, which is the end of a chunk."""
    size, step = sum(sizes) - start, sizes[0]
    return tuple(min(step, size - place) for place in range(0, size, step))


def _check_begins(old: StoredMain, part: Part) -> None:
    """Refuse an array that does not begin with what is stored.

    Raises
    ------
    LayoutError : naming what differs
    """
    new, known = part.spec, old.spec
    wrong = list(_differences(known, new))
    if not wrong:
        wrong = list(_values_that_differ(old, part))
    if wrong:
        raise LayoutError(
            f"{known.path!r} of {old.store!r} cannot be extended: {'; '.join(wrong)}. Write a new "
            "store, or replace it with overwrite=True"
        )


def _differences(old: MainSpec, new: MainSpec) -> list[str]:
    found = []
    for what in ("dims", "dtype", "quantity", "units"):
        if getattr(old, what) != getattr(new, what):
            found.append(f"its {what} are {getattr(old, what)}, not {getattr(new, what)}")
    found += [
        f"its {name} is {_told(old.attrs, name)}, not {_told(new.attrs, name)}"
        for name in _SAME
        if old.attrs.get(name) != new.attrs.get(name)
    ]
    if old.attrs.get(_GAPS):
        found.append(f"{old.attrs[_GAPS]} of its frames were missing, which may be there now")
    if found or not isinstance(old.position, Grid) or not isinstance(new.position, Grid):
        return found or ["its positions are no grid"]
    count = old.shape[0]
    if new.shape[0] < count:
        return [f"it has {count} entries along {old.dims[0]!r}, the array {new.shape[0]}"]
    pairs = list(zip(old.position.dimensions, new.position.dimensions, strict=True))
    slowest, others = pairs[0], pairs[1:]
    if not same_values(slowest[0].values, slowest[1].values[:count]):
        found.append(f"its values along {old.dims[0]!r} are others")
    found += [_told_apart(mine, other) for mine, other in others if mine != other]
    if old.spectroscopic != new.spectroscopic:
        found.append("its spectroscopic side is another")
    rows = math.prod(old.position.shape)
    if not np.array_equal(_order(old.position)[:rows], _order(new.position)[:rows]):
        found.append("it was acquired in another order")
    return found


def _told_apart(old: Dimension, new: Dimension) -> str:
    if len(old.values) == len(new.values):
        return f"its {old.name!r} is another"
    return (
        f"its {old.name!r} has {len(old.values)} values, that of the array {len(new.values)} (with "
        f"usidx.stack(..., sizes={{{old.name!r}: ...}}) a row that has only begun is not taken for "
        "a whole one)"
    )


def _order(side: Layout) -> Array:
    return np.arange(side.size) if side.order is None else np.asarray(side.order)


def _told(attrs: Mapping[str, Any], name: str) -> str:
    return repr(attrs[name]) if name in attrs else "nothing"


def _values_that_differ(old: StoredMain, part: Part) -> list[str]:
    """What the first and the last stored position say, as the labels alone may be those of any."""
    n = len(part.spec.position.shape)
    count = old.spec.shape[0]
    found = []
    for place in ((0,) * n, (count - 1, *(size - 1 for size in old.spec.shape[1:n]))):
        rest = (slice(None),) * (len(old.spec.shape) - n)
        mine = np.asarray(old.array[place + rest])
        for number, each in enumerate(part.arrays):
            names = mine.dtype.names
            left = mine if names is None else mine[names[number]]
            right = np.asarray(each[place].values)
            if not np.allclose(left, right, rtol=1e-5, atol=0, equal_nan=True):
                found.append(f"its values at {dict(zip(old.spec.dims, place))} are others")
    return found


def _compression(array: Any) -> Any:
    """What the chunks of a stored array are compressed with."""
    from usidx.stores.zarr.nodes import read_node

    node = read_node(os.path.join(array.folder, array.keys[0])) or {}
    for codec in node.get("codecs") or node.get("filters") or ():
        if "blosc" in (codec.get("name"), codec.get("id")):
            return codec.get("configuration", codec)["cname"]
    return None


def _link_chunks(source: str, target: Any, count: int) -> None:
    """Give the first chunk files of an array, along its slowest axis, a name in a new one.

    Raises
    ------
    LayoutError : where the new array would store its chunks in another way
    DamagedStoreError : where some of the files are not there
    """
    from usidx.stores.zarr.nodes import read_node

    nodes = read_node(source) or {}, read_node(target.folder) or {}
    for what in {*nodes[0], *nodes[1]} - {"shape", "attributes", "dimension_names"}:
        # a NaN is not equal to itself, its text is
        if repr(nodes[0].get(what)) != repr(nodes[1].get(what)):
            raise LayoutError(
                f"{source!r} stores its values in another way ({what}) than this usidx would; "
                "write a new store"
            )
    linked = 0
    for number in range(count):
        top = os.path.join("c" if nodes[0].get("zarr_format") == 3 else "", str(number))
        for folder, _, files in os.walk(os.path.join(source, top)):
            below = os.path.join(target.folder, os.path.relpath(folder, source))
            os.makedirs(below, exist_ok=True)
            for name in files:
                _link(os.path.join(folder, name), os.path.join(below, name))
                linked += 1
    each = math.prod(-(-size // part) for size, part in zip(target.shape[1:], target.chunks[1:]))
    if linked != count * each:
        raise DamagedStoreError(
            f"{source!r} has {linked} chunk files where {count * each} are needed; some are "
            "missing. Write a new store"
        )


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system that has one name for each file
        shutil.copyfile(source, target)


def is_there(path: str) -> bool:
    """Whether there is a store to be extended.

    Raises
    ------
    NotUsidError : where there is something else
    """
    if not os.path.lexists(path) or (os.path.isdir(path) and not os.listdir(path)):
        return False
    try:
        store_at(path).mains()
    except MainNotFoundError:
        return False
    return True
