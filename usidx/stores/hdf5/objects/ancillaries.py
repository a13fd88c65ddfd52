"""The ancillaries of the Mains in one open file, each of them read once."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any, NamedTuple

import h5py
import numpy as np

from usidx.model.ancillary import disambiguate, infer_layout, with_quantities
from usidx.model.dimension import Array, Role
from usidx.model.layout import Layout
from usidx.model.rules import AncillaryFacts, MainFacts, dimension_texts
from usidx.stores.hdf5.file import size_of
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.extents import absurdity
from usidx.stores.hdf5.objects.filters import require_filters
from usidx.stores.hdf5.objects.place import Side, plain_dtype, to_bytes
from usidx.stores.hdf5.objects.walk import Address, Catalog, address_of

# Attribute of values: what each column measures, where that is something else than its label.
QUANTITIES = "usid_quantities"
# Matrices up to this size are read as a whole, larger ones block by block as they are looked at.
_WHOLE_BYTES = 32 * 2**20
# Up to this size, ancillaries of different Mains are compared by their content.
_COMPARED_BYTES = 8 * 2**20
# They are read as a whole, so that they may not claim much more than is stored.
_SPARE_BYTES = 2**26


class Kind(NamedTuple):
    """What sides have in common that may fold alike: shapes and types are of their matrices."""

    role: Role
    labels: tuple[str, ...]
    units: tuple[str, ...]
    quantities: tuple[str, ...]
    indices: tuple[tuple[int, ...], str]
    values: tuple[tuple[int, ...], str]


class Matrix:
    """The matrix of one side, a row for each position (or spectroscopic value), read as asked for.

    Parameters
    ----------
    dataset : as it lies in the file
    turned : whether it lies there with a column for each, as spectroscopic ancillaries do
    """

    def __init__(self, dataset: h5py.Dataset, turned: bool) -> None:
        self._source: Any = dataset
        self._turned = turned
        self.dtype = plain_dtype(dataset.dtype)
        self.shape: tuple[int, ...] = dataset.shape[::-1] if turned else dataset.shape
        self.whole: Array | None = None
        require_filters(dataset)
        if math.prod(self.shape) * self.dtype.itemsize <= _WHOLE_BYTES:
            self._source = self.whole = dataset[()]

    def __getitem__(self, rows: slice, /) -> Array:
        if self._turned:
            return np.asarray(self._source[:, rows].T)
        return np.asarray(self._source[rows])


class Ancillaries:
    """What the Mains of an open file refer to, read once also where several share it.

    Parameters
    ----------
    catalog : of the file; made when it is needed when None
    """

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._catalog = catalog
        self._described: dict[Address, AncillaryFacts] = {}
        self._datasets: dict[str, h5py.Dataset] = {}
        self._sides: dict[tuple[str, str], Side] = {}
        self._layouts: dict[tuple[str, str], Layout] = {}
        self._first: dict[Kind, tuple[str, str] | None] = {}
        self._known: dict[bytes, Layout] = {}
        self._pairs: dict[tuple[int, int], tuple[Layout, Layout]] = {}
        self.used: set[str] = set()
        """Paths of the ancillaries whose layouts were asked for."""

    def facts(self, dataset: h5py.Dataset, path: str | None = None) -> MainFacts:
        """What the file says of `dataset` as a Main, unjudged."""
        path = str(dataset.name) if path is None else path
        indices, values = "_Indices", "_Values"
        return MainFacts(
            path=path,
            shape=tuple(dataset.shape or ()),
            dtype=plain_dtype(dataset.dtype),
            quantity=attributes.read_text(dataset, "quantity"),
            units=attributes.read_text(dataset, "units"),
            position_indices=self._ancillary(dataset, path, f"Position{indices}"),
            position_values=self._ancillary(dataset, path, f"Position{values}"),
            spectroscopic_indices=self._ancillary(dataset, path, f"Spectroscopic{indices}"),
            spectroscopic_values=self._ancillary(dataset, path, f"Spectroscopic{values}"),
        )

    def layouts(self, facts: MainFacts) -> tuple[Layout, Layout]:
        """How rows and columns of a Main fold; `facts` break no rule.

        Mains that fold alike get the very same layouts.
        """
        sides = self._layout(facts, "position"), self._layout(facts, "spectroscopic")
        pair = id(sides[0]), id(sides[1])
        if pair not in self._pairs:
            self._pairs[pair] = disambiguate(*sides)
        return self._pairs[pair]

    def sides(self, path: str) -> dict[str, Side]:
        """What the references of a Main lead to whose `facts` were asked for, by the attribute."""
        return {name: side for (main, name), side in self._sides.items() if main == path}

    def _ancillary(self, main: h5py.Dataset, path: str, attribute: str) -> AncillaryFacts:
        referred = attributes.read_reference(main, attribute)
        self._sides[path, attribute] = Side(referred, None)
        if referred.found != "dataset":
            return AncillaryFacts(attribute, odd=referred.odd)
        target: h5py.Dataset = referred.target
        address = address_of(target)
        if address not in self._described:
            # an object that no link leads to any more has no name
            where = self._path(target, path, attribute) or f"(nameless, at {address[1]})"
            where = where if where not in self._datasets else f"{target.file.filename}:{where}"
            self._datasets[where] = target
            self._described[address] = AncillaryFacts(
                attribute,
                path=where,
                shape=tuple(target.shape or ()),
                dtype=plain_dtype(target.dtype),
                labels=attributes.read_texts(target, "labels"),
                units=attributes.read_texts(target, "units"),
                absurd=absurdity(target.id, size_of(target.file), spare=_SPARE_BYTES) or "",
            )
        facts = self._described[address]
        self._sides[path, attribute] = Side(referred, facts.labels)
        return replace(facts, attribute=attribute, odd=referred.odd)

    def _path(self, target: h5py.Dataset, main: str, attribute: str) -> str | None:
        self._catalog = self._catalog or Catalog(target.file)
        return self._catalog.near(target, main, attribute)

    def _layout(self, facts: MainFacts, role: Role) -> Layout:
        indices, values = facts.side(role)
        assert indices.path is not None
        assert values.path is not None
        key = (indices.path, values.path)
        self.used.update(key)
        if key not in self._layouts:
            turned = role == "spectroscopic"
            count = indices.shape[0 if turned else 1]
            labels = dimension_texts(indices, values, "labels", count) or ()
            units = dimension_texts(indices, values, "units", count) or ()
            matrices = [Matrix(self._datasets[path], turned) for path in key]
            told = attributes.read_texts(self._datasets[key[1]], QUANTITIES) or ()
            kind = Kind(
                role, labels, units, told, *((each.shape, each.dtype.str) for each in matrices)
            )
            digest = self._told_apart(kind, key, matrices)
            layout = self._known.get(digest) if digest else None
            if layout is None:
                layout = with_quantities(infer_layout(role, labels, units, *matrices), told)
            if digest:
                self._known[digest] = layout
            self._layouts[key] = layout
        return self._layouts[key]

    def _told_apart(self, kind: Kind, key: tuple[str, str], matrices: list[Matrix]) -> bytes:
        """The digest of a side; empty while there is no other side of its kind, or for large ones.

        To digest the matrices takes as long as to look at them, and most files have one of a kind.
        """
        if kind not in self._first:
            self._first[kind] = key
            return b""
        before = self._first[kind]
        if before is not None:
            self._first[kind] = None
            turned = kind.role == "spectroscopic"
            digest = _digest(kind, [Matrix(self._datasets[path], turned) for path in before])
            if digest:
                self._known[digest] = self._layouts[before]
        return _digest(kind, matrices)


def _digest(kind: Kind, matrices: list[Matrix]) -> bytes:
    """What tells the ancillaries of one side from others; empty where that takes too long."""
    digest = hashlib.sha256(repr(kind).encode("utf-8", "backslashreplace"))
    for each in matrices:
        if each.whole is None or each.whole.nbytes > _COMPARED_BYTES:
            return b""
        digest.update(to_bytes(each.whole))
    return digest.digest()
