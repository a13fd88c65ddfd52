"""Selections that a file has by name (region references), on the arrays that they select from."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from usidx.arrays.ancillaries import sides_of
from usidx.arrays.extras import plain_dataarray
from usidx.arrays.labels import origin_of
from usidx.arrays.reshape import to_2d
from usidx.errors import LayoutError, MainNotFoundError
from usidx.model.dimension import Array
from usidx.model.layout import Layout, Points
from usidx.opening import labelled
from usidx.readers import store_behind
from usidx.stores import store_at
from usidx.stores.base import Store
from usidx.stores.region import Region

Labelled = xr.DataArray | xr.Dataset
Places = slice | Array

_ANCILLARIES = (
    "Position_Indices",
    "Position_Values",
    "Spectroscopic_Indices",
    "Spectroscopic_Values",
)
# As many single elements are listed one by one.
_MOST_ELEMENTS = 10**8


@dataclass(frozen=True, eq=False)
class Selection:
    """A named selection of rows and columns of a dataset; nothing is read before `select`.

    Parameters
    ----------
    store : path of the store
    region : what the store says of it
    array : the Main that it selects from, as it was opened; None for any other dataset
    allow_external : folders that the store may reach into
    """

    store: str
    region: Region
    array: Labelled | None = field(default=None, repr=False)
    allow_external: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the attribute that holds the reference."""
        return self.region.name

    @property
    def holder(self) -> str:
        """Path of the object that has the attribute."""
        return self.region.holder

    @property
    def target(self) -> str:
        """Path of the dataset that it selects from; "" where it leads nowhere."""
        return self.region.target

    @property
    def fault(self) -> str:
        """Why nothing can be selected, such as "a null reference"; "" where all is well."""
        return self.region.fault

    @property
    def rows(self) -> Places:
        """Rows of the 2-D dataset: a slice, or an ascending array of int64.

        Raises
        ------
        LayoutError : where it is no combination of rows and columns
        """
        return self._axes()[0]

    @property
    def columns(self) -> Places:
        """Columns of the 2-D dataset, as `rows`."""
        return self._axes()[1]

    @property
    def isel(self) -> dict[str, Places] | None:
        """What to give `.isel` of the N-D Main; None where no box in N-D is selected."""
        region, array = self.region, self._main()
        if region.fault or region.axes is None or len(region.axes) != 2 or array is None:
            return None
        if _is_flat(array):
            return dict(zip(("position", "spectroscopic"), region.axes, strict=True))
        sides = sides_of(array)
        boxes = [box_of(*each) for each in zip(region.axes, sides, strict=True)]
        if any(each is None for each in boxes):
            return None
        found = {name: places for each in boxes if each for name, places in each.items()}
        return {name: places for name, places in found.items() if name in array.dims}

    def select(self) -> Labelled:
        """What is selected, lazily.

        Of a Main: N-D where a box is selected, else rows and columns of the 2-D form; elements
        that are neither come as one list of them. Of any other dataset: as it lies in the file.

        Raises
        ------
        LayoutError : where the reference leads nowhere
        """
        if self.fault:
            raise LayoutError(
                f"region {self.name!r} of {self.holder!r} in {self.store!r} selects nothing: it is "
                f"{self.fault}"
            )
        array, axes = self._main(), self.region.axes
        if array is None:
            store = store_at(self.store, self.allow_external)
            plain = plain_dataarray(store.dataset(self.target))
            return _pick(plain, tuple(map(str, plain.dims)), axes, self.region.blocks)
        box = self.isel
        if box is not None:
            return array.isel(box)
        return _pick(_flat(array), ("position", "spectroscopic"), axes, self.region.blocks)

    def _axes(self) -> tuple[Places, ...]:
        axes = self.region.axes
        if self.fault or axes is None or len(axes) != 2:
            raise LayoutError(
                f"region {self.name!r} of {self.holder!r} has no rows and columns: it is {self}"
            )
        return axes

    def _main(self) -> Labelled | None:
        """The Main that it selects from, None where that is something else."""
        if self.array is not None or self.fault:
            return self.array
        store = store_at(self.store, self.allow_external)
        known = [each.path for each in store.candidates(self.target)]
        return labelled(store.open_main(self.target)) if self.target in known else None

    def __str__(self) -> str:
        return str(self.region)


class Selections(Mapping[str, Selection]):
    """Named selections, shown as a table.

    Those that the Main itself has go by their name, others by the path of what has them, too.
    """

    def __init__(self, of: str, found: Mapping[str, Selection]) -> None:
        self._of = of
        self._found = dict(found)

    def __getitem__(self, name: str) -> Selection:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def _title(self) -> str:
        count = len(self)
        return f"{count or 'no'} region{'' if count == 1 else 's'} of {self._of}"

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = [f"  {name:<{width}}  {each}" for name, each in self.items()]
        return "\n".join([f"<usidx {self._title()}>", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(each))}</td></tr>"
            for name, each in self.items()
        )
        return f"<div><b>{html.escape(self._title())}</b><table>{rows}</table></div>"


def regions_of(obj: Labelled) -> Selections:
    """The region references that a Main, its ancillaries and its groups have, or that select of it.

    Raises
    ------
    MainNotFoundError : where `obj` is no Main of a store
    """
    origin = origin_of(obj)
    if origin is None:
        raise MainNotFoundError(
            "this array is no Main of a store: it was made in memory, or something was computed on "
            "it since it was opened; ask what usidx.open gave"
        )
    store = store_behind(origin)
    near = {origin.main, *_ancillaries(store, origin.main)}
    parent = origin.main.rpartition("/")[0]
    found = {}
    for region in store.regions():
        above = region.holder == "/" or f"{origin.main}/".startswith(f"{region.holder}/")
        if above or {region.holder, region.target} & near:
            whole = f"{region.holder.rstrip('/')}/{region.name}"
            beside = region.holder.startswith(f"{parent}/")
            key = whole.removeprefix(f"{parent}/") if beside else whole
            key = region.name if region.holder == origin.main else key
            array = obj if region.target == origin.main else None
            found[key] = Selection(origin.store, region, array, origin.allow_external)
    return Selections(origin.main, found)


def regions_in(path: str) -> Selections:
    """Every region reference in the store at `path`, by the path of what has it and its name."""
    regions = store_at(path).regions()
    found = {f"{each.holder.rstrip('/')}/{each.name}": Selection(path, each) for each in regions}
    return Selections(path, found)


def _ancillaries(store: Store, main: str) -> set[str]:
    attrs = store.attrs(main)
    return {str(attrs[name]) for name in _ANCILLARIES if name in attrs}


def _is_flat(array: Labelled) -> bool:
    return set(array.dims) == {"position", "spectroscopic"}


def _flat(array: Labelled) -> Labelled:
    """The rows and columns of a Main as its file has them."""
    if _is_flat(array):
        return array
    if isinstance(array, xr.Dataset):
        return to_2d(array, order="acquisition")
    return to_2d(array, order="acquisition")


def _pick(
    array: Labelled,
    dims: tuple[str, ...],
    axes: tuple[Places, ...] | None,
    blocks: Array | None,
) -> Labelled:
    """The selected places of an array with one dimension for each axis of the dataset."""
    if axes is not None:
        return array.isel(dict(zip(dims, axes, strict=True)))
    assert blocks is not None
    count = int((blocks[:, 1] - blocks[:, 0]).prod(axis=1).sum())
    if count > _MOST_ELEMENTS:
        raise LayoutError(f"{count} single elements are too many to select one by one")
    elements = np.concatenate([_elements(each) for each in blocks])
    wanted = {dim: xr.DataArray(elements[:, axis], dims="element") for axis, dim in enumerate(dims)}
    return array.isel(wanted)


def _elements(block: Array) -> Array:
    """Every place in a block (first places, and those behind the last): (elements, axes)."""
    ranges = [np.arange(first, stop, dtype=np.int64) for first, stop in block.T.tolist()]
    return np.stack([each.ravel() for each in np.meshgrid(*ranges, indexing="ij")], axis=1)


def box_of(rows: Places, layout: Layout) -> dict[str, Places] | None:
    """The box of cells that some of the file's rows are, by dimension; None where they are none.

    Parameters
    ----------
    rows : a slice with a positive step, or an array of int64

    Examples
    --------
    >>> from usidx.model.dimension import Dimension
    >>> from usidx.model.layout import Grid
    >>> grid = Grid("position", (Dimension("Y", "um", 4), Dimension("X", "um", 3)))
    >>> box_of(slice(3, 9), grid), box_of(slice(3, 8), grid)
    ({'Y': slice(1, 3, 1), 'X': slice(0, 3, 1)}, None)
    """
    if isinstance(layout, Points):
        return {layout.role: rows}
    whole = range(layout.size)
    if isinstance(rows, slice) and whole[rows] == whole:
        return {dim: slice(0, size, 1) for dim, size in zip(layout.dims, layout.shape, strict=True)}
    cells = np.arange(layout.size)[rows] if isinstance(rows, slice) else rows
    if layout.order is not None:
        cell_of_row = np.empty(layout.size, np.int64)
        cell_of_row[layout.order] = np.arange(layout.size)
        cells = cell_of_row[cells]
    places = [np.unique(along) for along in np.unravel_index(cells, layout.shape)]
    if np.prod([len(each) for each in places]) != len(cells):
        return None
    return {dim: _evenly(each) for dim, each in zip(layout.dims, places, strict=True)}


def _evenly(places: Array) -> Places:
    steps = np.diff(places)
    if not places.size or (steps.size and not bool((steps == steps[0]).all())):
        return places
    step = int(steps[0]) if steps.size else 1
    return slice(int(places[0]), int(places[-1]) + 1, step)
