"""Writing values as text, for programs that read nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.columns import INDEX_OF, ORDER
from usidx.arrays.roles import dims_by_role
from usidx.errors import LayoutError, OptionError, did_you_mean
from usidx.exporting.moving.aside import aside
from usidx.exporting.moving.storing import Progress, told
from usidx.model.blocks import block_shape, chunks_of
from usidx.model.dimension import Array
from usidx.stores.remote.url import path_on_disk

Form = Literal["long", "matrix"]
Labelled = xr.DataArray | xr.Dataset

_BLOCK_BYTES = 2 * 2**20
# Blocks that are computed together: what they share is computed once.
_AT_ONCE = 4
_QUOTED = frozenset(',"\r\n')


def to_csv(
    obj: Labelled,
    path: str | os.PathLike[str],
    *,
    form: Form = "long",
    overwrite: bool = False,
    progress: Progress = False,
) -> str:
    """Write values as comma-separated text with one line of names and units, and return its path.

    Numbers are written such that they read back exactly. Values are computed and written a few
    blocks at a time, so that memory holds no more. Positions are in row-major order; to have the
    order of acquisition, write the 2-D form (`usid.to_2d()`).

    Parameters
    ----------
    obj : a Main, or a Dataset whose variables are its fields
    path : of the file
    form : "long" has a line for each value, after its coordinates; "matrix" has a line for each
        position, after its coordinates, and a column for each spectroscopic value. A complex value
        has two columns, real and imaginary; a compound one has a column for each field
    overwrite : replace the file that is there; it stays whole until the new one is
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    LayoutError : where a dimension has no role, or fields differ in theirs
    OptionError : for another form, or values that are no numbers

    Examples
    --------
    >>> import os, tempfile
    >>> from usidx.testing import make_main
    >>> path = os.path.join(tempfile.mkdtemp(), "scan.csv")
    >>> with open(to_csv(make_main((2, 2, 3)), path)) as lines:
    ...     print(next(lines).strip())
    Y [um],X [um],Frequency [Hz],Cantilever Vertical Deflection [V]
    """
    path = path_on_disk(path, "a table")
    if form not in ("long", "matrix"):
        raise OptionError(
            f"form={form!r} is not known{did_you_mean(str(form), ('long', 'matrix'))}; use 'long' "
            "for a line for each value, 'matrix' for one for each position"
        )
    table = _table_of(obj)
    with aside(path, overwrite, text=True) as file, told(progress) as tell:
        lines = table.long_header() if form == "long" else table.matrix_header()
        file.write(lines)
        blocks = list(table.blocks())
        for start in range(0, len(blocks), _AT_ONCE):
            few = blocks[start : start + _AT_ONCE]
            for number, (key, values) in enumerate(zip(few, table.computed(few)), start + 1):
                write = table.long_lines if form == "long" else table.matrix_lines
                file.writelines(write(key, values))
                tell(number, len(blocks))
    return path


@dataclass(frozen=True)
class _Column:
    """A coordinate, as a column.

    Parameters
    ----------
    label : name and units
    axes : numbers of the side's axes along which it changes
    texts : array of str, one axis for each of `axes`
    """

    label: str
    axes: tuple[int, ...]
    texts: Array


@dataclass(frozen=True)
class _Table:
    """What is written.

    Parameters
    ----------
    shape, n_position : sizes of the axes, and how many of them are positions, which come first
    position, spectroscopic : the coordinates of each side
    values : names of the columns of values, and the arrays that they are columns of; two columns
        where they are complex
    """

    shape: tuple[int, ...]
    n_position: int
    position: tuple[_Column, ...]
    spectroscopic: tuple[_Column, ...]
    values: tuple[tuple[str, str, xr.DataArray], ...]

    def blocks(self) -> Iterator[tuple[slice, ...]]:
        """Runs of positions, one after the other, each with whole spectra."""
        itemsize = sum(array.dtype.itemsize for *_, array in self.values)
        block = block_shape(self.shape, self.n_position, itemsize, budget=_BLOCK_BYTES)
        sizes = chunks_of(self.shape, block)
        starts = [np.cumsum((0, *each[:-1])).tolist() for each in sizes]
        for place in np.ndindex(*(len(each) for each in sizes)):
            yield tuple(
                slice(start[n], start[n] + size[n]) for n, start, size in zip(place, starts, sizes)
            )

    def computed(self, keys: Sequence[tuple[slice, ...]]) -> list[list[Array]]:
        """The values of some blocks: for each, those of all arrays, shape (positions, spectra)."""
        from dask.base import compute

        parts = [[array[key].data for *_, array in self.values] for key in keys]
        (found,) = compute(parts)
        width = math.prod(self.shape[self.n_position :])
        return [[np.asarray(each).reshape(-1, width) for each in block] for block in found]

    def long_header(self) -> str:
        """Names of coordinates, and of values."""
        names = [each.label for each in (*self.position, *self.spectroscopic)]
        names += [
            _with_units(f"{name}{part}", units)
            for name, units, array in self.values
            for part in _parts(array.dtype)
        ]
        return ",".join(map(_quoted, names)) + "\n"

    def matrix_header(self) -> str:
        """Names of coordinates, and of the values at each spectroscopic value."""
        cells = [""] * math.prod(self.shape[self.n_position :])
        for each in self.spectroscopic:
            known = _along(each, self.shape[self.n_position :], ())
            name, units = each.label, ""
            if each.label.endswith("]"):
                name, units = each.label[:-1].rsplit(" [", 1)
            told = [f"{name} = {text} {units}".rstrip() for text in known]
            cells = [
                f"{before} and {each}" if before else f" at {each}"
                for before, each in zip(cells, told)
            ]
        names = [each.label for each in self.position]
        names += [
            f"{_with_units(f'{name}{part}', units)}{cell}"
            for cell in cells
            for name, units, array in self.values
            for part in _parts(array.dtype)
        ]
        return ",".join(map(_quoted, names)) + "\n"

    def long_lines(self, key: tuple[slice, ...], values: list[Array]) -> Iterator[str]:
        """A line for each value of a block."""
        positions = self._starts(self.position, key[: self.n_position], 0)
        spectra = self._starts(self.spectroscopic, key[self.n_position :], self.n_position)
        columns = [_texts(part) for each in values for part in _split(each)]
        for row, position in enumerate(positions):
            cells = zip(spectra, *(each[row] for each in columns))
            yield "".join(f"{position}{cell}{','.join(texts)}\n" for cell, *texts in cells)

    def matrix_lines(self, key: tuple[slice, ...], values: list[Array]) -> Iterator[str]:
        """A line for each position of a block."""
        positions = self._starts(self.position, key[: self.n_position], 0)
        parts = [part for each in values for part in _split(each)]
        texts = [_texts(each) for each in parts]
        for row, position in enumerate(positions):
            cells = zip(*(each[row] for each in texts))
            yield position + ",".join(text for cell in cells for text in cell) + "\n"

    def _starts(self, columns: Sequence[_Column], key: tuple[slice, ...], first: int) -> list[str]:
        """The beginning of the line of each cell: its coordinates, each with a comma after it."""
        shape = self.shape[first : first + len(key)]
        known = [_along(each, shape, key) for each in columns]
        if not known:
            return [""] * math.prod(each.stop - each.start for each in key)
        return ["".join(f"{text}," for text in texts) for texts in zip(*known)]


def _table_of(obj: Labelled) -> _Table:
    position, spectroscopic = dims_by_role(obj)
    dims = (*position, *spectroscopic)
    ordered = obj.transpose(*dims)
    arrays = [ordered] if isinstance(ordered, xr.DataArray) else list(ordered.data_vars.values())
    if not arrays:
        raise LayoutError("the Dataset has no variables, so there is nothing to write")
    for each in arrays:
        if each.dtype.kind not in "biufc":
            raise OptionError(f"{each.name!r} has values of {each.dtype}, which are no numbers")
        if each.dims != arrays[0].dims:
            raise LayoutError(
                f"fields of one table need the same dimensions, but {arrays[0].name!r} has "
                f"{arrays[0].dims} and {each.name!r} has {each.dims}; write them one by one"
            )
    named = isinstance(obj, xr.Dataset)
    values = [(_name_of(each, named), str(each.attrs.get("units", "")), each) for each in arrays]
    both = []
    for name, each in ordered.coords.items():
        sides = [bool(set(each.dims) & set(side)) for side in (position, spectroscopic)]
        if all(sides) and each.dtype.kind in "biufc":
            spread = each.broadcast_like(arrays[0]).transpose(*dims)
            both.append((str(name), str(each.attrs.get("units", "")), spread))
    return _Table(
        tuple(ordered.sizes[dim] for dim in dims),
        len(position),
        tuple(_columns(ordered, position)),
        tuple(_columns(ordered, spectroscopic)),
        tuple(both + values),
    )


def _name_of(array: xr.DataArray, named: bool) -> str:
    """What a column of values is called: as its field, else by what was measured."""
    name = str(array.name or "value")
    return name if named else str(array.attrs.get("quantity") or name)


def _columns(obj: Labelled, dims: tuple[str, ...]) -> Iterator[_Column]:
    """The coordinates of one side: of each dimension, and then those that change with several."""
    found: dict[Hashable, xr.DataArray] = {}
    for dim in dims:
        along = [name for name, each in obj.coords.items() if each.dims == (dim,)]
        if not along:
            found[dim] = xr.DataArray(np.arange(obj.sizes[dim]), dims=dim, name=dim)
        for name in sorted(along, key=lambda name: name != dim):
            found[name] = obj.coords[name]
    for name, each in obj.coords.items():
        if each.ndim > 1 and set(each.dims) <= set(dims):
            found[name] = each
    for name, each in found.items():
        if not {ORDER, INDEX_OF} & set(each.attrs):
            axes = tuple(dims.index(str(dim)) for dim in each.dims)
            label = _with_units(str(name), str(each.attrs.get("units", "")))
            yield _Column(label, axes, np.array(_texts(each.values), dtype=object))


def _along(column: _Column, shape: tuple[int, ...], key: tuple[slice, ...]) -> list[str]:
    """The texts of a column for the cells of a block, in row-major order."""
    key = key or tuple(slice(0, size) for size in shape)
    texts = column.texts[tuple(key[axis] for axis in column.axes)]
    sizes = [each.stop - each.start for each in key]
    order = np.argsort(column.axes)
    spread = texts.transpose(order).reshape(
        [size if axis in column.axes else 1 for axis, size in enumerate(sizes)]
    )
    found: list[str] = np.broadcast_to(spread, sizes).reshape(-1).tolist()
    return found


def _parts(dtype: np.dtype[Any]) -> tuple[str, ...]:
    return (" real", " imag") if dtype.kind == "c" else ("",)


def _split(values: Array) -> tuple[Array, ...]:
    return (values.real, values.imag) if values.dtype.kind == "c" else (values,)


def _texts(values: Array) -> Any:
    """Numbers as the shortest text that reads back as them; any other value as it is."""
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype.kind in "iuf":
        plain = values.astype(values.dtype.newbyteorder("="), copy=False)
        return plain.astype("U").tolist()
    quoted = [_quoted(str(each)) for each in values.reshape(-1).tolist()]
    return np.array(quoted, dtype=object).reshape(values.shape).tolist()


def _with_units(name: str, units: str) -> str:
    return f"{name} [{units}]" if units and not name.endswith("]") else name


def _quoted(text: str) -> str:
    if _QUOTED & set(text) or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
