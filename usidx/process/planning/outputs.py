"""What a step returned, as the Mains of a result group."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import STRUCTURAL
from usidx.arrays.fields import compound_spec, compounds_of, field_names, pack
from usidx.arrays.labels import arrange, as_main, assign_roles
from usidx.arrays.roles import known_roles
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.model.layout import Grid, Layout
from usidx.model.main import MainSpec
from usidx.model.provenance import book_keeping

if TYPE_CHECKING:
    import dask.array

NO_UNITS = "a. u."
# Versions of the programs that wrote the source, which have not written the result.
WRITERS = ("pyUSID_version", "sidpy_version", "pycroscopy_version", "Pycroscopy version")
Chunks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Draft:
    """A Main to be made, before it is cut into blocks.

    Parameters
    ----------
    spec : what the Main is
    values : its N-D values in given chunks, lazily
    chunks : in which they come
    """

    spec: MainSpec
    values: Callable[[Chunks], dask.array.Array]
    chunks: Chunks

    @property
    def pieces(self) -> int:
        """How many chunks they come in."""
        return math.prod(map(len, self.chunks))


def drafts_of(result: object, tool: str) -> tuple[Draft, ...]:
    """The Mains that a step's result becomes.

    A DataArray, or a Dataset of one variable, is one Main named after the tool. A Dataset whose
    variables have the same dimensions is one compound Main named after the tool, its variables are
    the fields. A Dataset whose variables differ in dimensions is one Main for each, named as they
    are; where a dimension without a role is added to positions in one of them, as components are
    to maps, it is the position of those that have none. Where the attributes of all variables name
    Mains and fields (`fields.PART`), those are the Mains.

    Quantity and units are those in the attributes of the result. Where it has none, the quantity
    is the name of the tool (or of the variable) and the units are "a. u.": what was measured may
    be something else after a step, so that the source's are not taken.

    Raises
    ------
    PlanError : for anything else
    LayoutError : where the roles of the dimensions cannot be told
    """
    if isinstance(result, xr.DataArray):
        return (_draft(result, tool),)
    if not isinstance(result, xr.Dataset):
        raise PlanError(
            f"step {tool!r} returned a {type(result).__name__}; a step returns a DataArray, or a "
            "Dataset where there are several results"
        )
    variables = {str(name): each for name, each in result.data_vars.items()}
    if not variables:
        raise PlanError(f"step {tool!r} returned a Dataset without variables, so nothing to store")
    compounds = compounds_of(result)
    if compounds:
        return tuple(_compound_draft(each, name) for name, each in compounds.items())
    if len(variables) == 1:
        return (_draft(next(iter(variables.values())), tool),)
    if len({frozenset(each.dims) for each in variables.values()}) == 1:
        return (_compound_draft(result, tool),)
    return tuple(_draft(each, name) for name, each in _with_sides(variables).items())


def _with_sides(variables: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """The variables of a decomposition with roles for the dimension that is new in them.

    What a step adds to the positions of one variable (a component) is spectroscopic there. In the
    others, the spectra of the components and their strengths, it takes the place of positions.
    """
    added: set[str] = set()
    for each in variables.values():
        roles = known_roles(each)
        if "position" in roles.values():
            added |= {dim for dim, role in roles.items() if role is None}
    return {name: _with_positions(each, added) for name, each in variables.items()}


def _with_positions(array: xr.DataArray, added: Set[str]) -> xr.DataArray:
    roles = known_roles(array)
    lost = [dim for dim, role in roles.items() if role is None]
    if not lost or "position" in roles.values() or not added >= set(lost):
        return array
    return assign_roles(array, lost)


def _draft(array: xr.DataArray, name: str) -> Draft:
    if not name or "/" in name or "\0" in name:
        raise PlanError(f"{name!r} cannot name a Main; rename that variable")
    array = array.rename(name)
    spec, arranged = as_main(array, path=f"/{name}")
    _check_dtype(name, spec.dtype)
    spec = _plain(spec, array.attrs)
    values = _dask(arranged)
    return Draft(spec, values.rechunk, values.chunks)


def _compound_draft(dataset: xr.Dataset, tool: str) -> Draft:
    spec = compound_spec(dataset, path=f"/{tool}")
    for name in field_names(spec.dtype):
        _check_dtype(name, spec.dtype[name])
    arranged = [arrange(each, spec) for each in dataset.data_vars.values()]
    spec = _plain(spec, {"quantity": tool, **dataset.attrs})

    def values(chunks: Chunks) -> dask.array.Array:
        import dask.array as da

        fields = [_dask(each).rechunk(chunks) for each in arranged]
        meta = np.empty((0,) * len(spec.shape), spec.dtype)
        packed: dask.array.Array = da.map_blocks(
            _pack, *fields, compound=spec.dtype, dtype=spec.dtype, meta=meta
        )
        return packed

    finest = max(map(_dask, arranged), key=lambda each: each.npartitions)
    return Draft(spec, values, finest.chunks)


def _pack(*blocks: Array, compound: np.dtype[Any]) -> Array:
    return pack(dict(zip(field_names(compound), blocks, strict=True)), compound)


def _plain(spec: MainSpec, attrs: Any) -> MainSpec:
    """The spec of a new Main: in raster order, with attributes that are its own."""
    named = bool(attrs.get("quantity") or attrs.get("long_name"))
    inherited = {*book_keeping(), *WRITERS}
    return replace(
        spec,
        quantity=spec.quantity if named else spec.name,
        units=spec.units or NO_UNITS,
        position=_raster(spec.position),
        spectroscopic=_raster(spec.spectroscopic),
        attrs={
            name: value
            for name, value in spec.attrs.items()
            if name in STRUCTURAL or not (name in inherited or name.startswith("usid_"))
        },
    )


def _raster(side: Layout) -> Layout:
    return replace(side, order=None) if isinstance(side, Grid) else side


def _dask(array: xr.DataArray) -> dask.array.Array:
    lazy: dask.array.Array = array.data if array.chunks is not None else array.chunk().data
    return lazy


def _check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biufc":
        raise PlanError(
            f"{name!r} would hold values of dtype {dtype}; a Main holds numbers (booleans, ints, "
            "floats or complex)"
        )
