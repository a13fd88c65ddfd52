"""Write what describes a Main into HDF5, as pyUSID 0.0.12 does: attributes and ancillaries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from usidx.errors import OptionError
from usidx.model.ancillary import Matrices, file_labels, file_quantities, file_units
from usidx.model.layout import Grid, Layout
from usidx.model.main import MainSpec
from usidx.model.provenance import book_keeping
from usidx.stores.hdf5.objects.ancillaries import QUANTITIES
from usidx.stores.hdf5.objects.place import REFERENCES

# An object header holds messages up to 64 KiB; longer text goes elsewhere by itself.
_LARGEST_ATTRIBUTE = 60_000
_ROWS_AT_ONCE = 2**18
# pyUSID's DimType
_DEFAULT, _INCOMPLETE, _DEPENDENT = 0, 1, 2
_STRUCTURAL = frozenset({*REFERENCES, "quantity", "units"})


@dataclass(frozen=True)
class Side:
    """The two ancillaries of one side of a Main, in the file."""

    indices: h5py.Dataset
    values: h5py.Dataset

    def refer(self, main: h5py.Dataset, role: str) -> None:
        """Make them the ancillaries of `main`."""
        main.attrs[f"{role.capitalize()}_Indices"] = self.indices.ref
        main.attrs[f"{role.capitalize()}_Values"] = self.values.ref


KnownSide = tuple[Layout, Side]
"""A layout, and the ancillaries that a file has of it."""


@dataclass
class NewAncillaries:
    """Ancillaries of new Mains, each written once however many Mains share it.

    Parameters
    ----------
    group : the group they are written into
    checked : whether they get checksums, for which they have to be chunked
    known : what there is to be shared; what is written comes to it
    """

    group: h5py.Group
    checked: bool = False
    known: list[KnownSide] = field(default_factory=list)

    def side(self, layout: Layout, main: str) -> Side:
        """The ancillaries of `layout`, written for the Main named `main` unless they are there."""
        for known, side in self.known:
            if known is layout or (
                known == layout and file_quantities(known) == file_quantities(layout)
            ):
                return side
        base = layout.role.capitalize()
        if f"{base}_Indices" in self.group or f"{base}_Values" in self.group:
            base = f"{main}_{base}"
        side = write_ancillaries(self.group, layout, base, checked=self.checked)
        self.known.append((layout, side))
        return side


def write_ancillaries(
    group: h5py.Group, layout: Layout, prefix: str, *, checked: bool = False
) -> Side:
    """The new datasets `<prefix>_Indices` and `<prefix>_Values` of one side, in bounded memory."""
    count = len(file_labels(layout))
    matrices = Matrices(layout)
    types = {"Indices": np.dtype(np.uint32), "Values": matrices.value_type}
    across = layout.role == "spectroscopic"
    shape = (count, layout.size) if across else (layout.size, count)
    made = {
        name: create_dataset(group, f"{prefix}_{name}", shape, dtype, checked=checked)
        for name, dtype in types.items()
    }
    for start in range(0, layout.size, _ROWS_AT_ONCE):
        rows = slice(start, min(start + _ROWS_AT_ONCE, layout.size))
        for name, matrix in (("Indices", matrices.indices), ("Values", matrices.values)):
            part = matrix(rows.start, rows.stop)
            made[name][(slice(None), rows) if across else rows] = part.T if across else part
    quantities = file_quantities(layout)
    if any(quantities):  # USID has no place for them
        write_texts(made["Values"], QUANTITIES, quantities)
    for dataset in made.values():
        write_texts(dataset, "labels", file_labels(layout))
        write_texts(dataset, "units", file_units(layout))
        dataset.attrs["type"] = np.array(_dimension_types(layout), np.int64)
        write_attributes(dataset, book_keeping())
    return Side(made["Indices"], made["Values"])


def create_dataset(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    checked: bool = False,
) -> h5py.Dataset:
    """A new dataset with its room set aside and nothing written: contiguous, unless `checked`."""
    if checked:
        chunk = tuple(min(size, 2**16) for size in shape)
        return group.create_dataset(name, shape, dtype, chunks=chunk, fletcher32=True)
    storage = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    storage.set_layout(h5py.h5d.CONTIGUOUS)
    storage.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    storage.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    try:
        kind = h5py.h5t.py_create(dtype, logical=True)
    except TypeError as error:
        raise OptionError(
            f"values of {name!r} cannot be kept in HDF5 as {dtype}; convert them to numbers"
        ) from error
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, storage))


def describe_main(dataset: h5py.Dataset, spec: MainSpec) -> None:
    """Write the attributes of a Main, all but its references."""
    write_attributes(dataset, book_keeping())
    write_attributes(dataset, {k: v for k, v in spec.attrs.items() if k not in _STRUCTURAL})
    write_attribute(dataset, "quantity", spec.quantity)
    write_attribute(dataset, "units", spec.units)


def write_attributes(obj: h5py.HLObject, attributes: Mapping[str, Any]) -> None:
    """Write attributes; those that are None say nothing and are left out."""
    for name, value in attributes.items():
        write_attribute(obj, name, value)


def write_attribute(obj: h5py.HLObject, name: str, value: Any) -> None:
    """Write one attribute: text as UTF-8, numbers and arrays as they are, dicts as JSON.

    Raises
    ------
    OptionError : for a value that HDF5 cannot hold and JSON neither
    """
    if value is None:
        return
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value):
        write_texts(obj, name, value)
        return
    try:
        obj.attrs[name] = _storable(value)
    except (TypeError, ValueError, OSError, OverflowError) as error:
        raise OptionError(
            f"attribute {name!r} of {obj.name!r} is a {type(value).__name__}, which an HDF5 file "
            f"cannot hold ({error}); make it a number, text, a list or an array"
        ) from error


def write_texts(obj: h5py.HLObject, name: str, texts: Sequence[str]) -> None:
    """Write a list of texts: of fixed length where all are ASCII, as pyUSID does, else UTF-8."""
    if all(each.isascii() and "\0" not in each for each in texts):
        array = np.array([each.encode() for each in texts], "S")
        if array.nbytes <= _LARGEST_ATTRIBUTE:
            obj.attrs[name] = array
            return
    plain = [each.replace("\0", "") for each in texts]
    obj.attrs.create(name, plain, dtype=h5py.string_dtype("utf-8"))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, (bool, np.bool_)):
        return np.bool_(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value)
    if isinstance(value, np.ndarray):
        plain = value.dtype.kind in "biufcS" and value.nbytes <= _LARGEST_ATTRIBUTE
        return value if plain else json.dumps(value.tolist(), default=str)
    if isinstance(value, (list, tuple)):
        return _storable_list(list(value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value), default=_json)
    return value


def _storable_list(value: list[Any]) -> Any:
    """An array where the list is one of numbers, else JSON."""
    kinds = {type(each) for each in _leaves(value)}
    if value and (kinds <= {int, float, complex} or kinds == {bool}):
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            return json.dumps(value, default=_json)
        if array.dtype.kind in "biufc" and array.nbytes <= _LARGEST_ATTRIBUTE:
            return array
    return json.dumps(value, default=_json)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _json(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _dimension_types(layout: Layout) -> list[int]:
    """pyUSID's type of each column."""
    labels = file_labels(layout)
    if not isinstance(layout, Grid):
        return [_INCOMPLETE] * len(labels)
    dependent = {each.file_label for each in layout.dependent}
    return [_DEPENDENT if label in dependent else _DEFAULT for label in labels]
