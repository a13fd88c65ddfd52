"""The ancillaries of the Mains in one open file, each of them read once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from usidx.model.ancillary import disambiguate, infer_layout
from usidx.model.dimension import Array, Role
from usidx.model.layout import Layout
from usidx.model.rules import AncillaryFacts, MainFacts, dimension_texts
from usidx.stores.hdf5 import attributes
from usidx.stores.hdf5.place import plain_dtype

# Matrices up to this size are read as a whole, larger ones block by block as they are looked at.
_WHOLE_BYTES = 256 * 2**20


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
        if math.prod(self.shape) * self.dtype.itemsize <= _WHOLE_BYTES:
            self._source = dataset[()]

    def __getitem__(self, rows: slice, /) -> Array:
        if self._turned:
            return np.asarray(self._source[:, rows].T)
        return np.asarray(self._source[rows])


class Ancillaries:
    """What the Mains of an open file refer to, read once also where several share it."""

    def __init__(self) -> None:
        self._described: dict[tuple[int, int], AncillaryFacts] = {}
        self._datasets: dict[str, h5py.Dataset] = {}
        self._layouts: dict[tuple[str, str], Layout] = {}

    def facts(self, dataset: h5py.Dataset) -> MainFacts:
        """What the file says of `dataset` as a Main, unjudged."""
        return MainFacts(
            path=str(dataset.name),
            shape=tuple(dataset.shape or ()),
            dtype=plain_dtype(dataset.dtype),
            quantity=attributes.read_text(dataset, "quantity"),
            units=attributes.read_text(dataset, "units"),
            position_indices=self._ancillary(dataset, "Position_Indices"),
            position_values=self._ancillary(dataset, "Position_Values"),
            spectroscopic_indices=self._ancillary(dataset, "Spectroscopic_Indices"),
            spectroscopic_values=self._ancillary(dataset, "Spectroscopic_Values"),
        )

    def layouts(self, facts: MainFacts) -> tuple[Layout, Layout]:
        """How rows and columns of a Main fold; `facts` break no rule."""
        return disambiguate(self._layout(facts, "position"), self._layout(facts, "spectroscopic"))

    def _ancillary(self, main: h5py.Dataset, attribute: str) -> AncillaryFacts:
        referred = attributes.read_reference(main, attribute)
        if referred.found != "dataset":
            return AncillaryFacts(attribute, odd=referred.odd)
        target: h5py.Dataset = referred.target
        info = h5py.h5o.get_info(target.id)
        address = (int(info.fileno), int(info.addr))
        if address not in self._described:
            # an object that no link leads to any more has no name
            path = attributes.path_of(target, main, attribute) or f"(nameless, at {info.addr})"
            path = path if path not in self._datasets else f"{target.file.filename}:{path}"
            self._datasets[path] = target
            self._described[address] = AncillaryFacts(
                attribute,
                path=path,
                shape=tuple(target.shape or ()),
                dtype=plain_dtype(target.dtype),
                labels=attributes.read_texts(target, "labels"),
                units=attributes.read_texts(target, "units"),
            )
        return replace(self._described[address], attribute=attribute, odd=referred.odd)

    def _layout(self, facts: MainFacts, role: Role) -> Layout:
        indices, values = facts.side(role)
        assert indices.path is not None
        assert values.path is not None
        key = (indices.path, values.path)
        if key not in self._layouts:
            turned = role == "spectroscopic"
            count = indices.shape[0 if turned else 1]
            self._layouts[key] = infer_layout(
                role,
                dimension_texts(indices, values, "labels", count) or (),
                dimension_texts(indices, values, "units", count) or (),
                Matrix(self._datasets[indices.path], turned),
                Matrix(self._datasets[values.path], turned),
            )
        return self._layouts[key]
