"""A Main as a DataFrame, of pandas or of dask: a row for each value, with its coordinates."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import xarray as xr

from usidx.arrays.columns import INDEX_OF, ORDER
from usidx.arrays.roles import dims_by_role
from usidx.errors import MissingDependencyError, OptionError

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 10_000_000
# Rows of a part of a lazy table.
_PART_ROWS = 1_000_000


@overload
def to_dataframe(
    obj: xr.DataArray | xr.Dataset, *, largest: int | None = ..., lazily: Literal[False] = ...
) -> pd.DataFrame: ...


@overload
def to_dataframe(
    obj: xr.DataArray | xr.Dataset, *, largest: int | None = ..., lazily: Literal[True]
) -> Any: ...


def to_dataframe(
    obj: xr.DataArray | xr.Dataset, *, largest: int | None = LARGEST, lazily: bool = False
) -> Any:
    """A table with a row for each value: its coordinates, and then the value.

    Rows are in the order of the array, positions first. Units of each column are in
    `frame.attrs["units"]`, attributes of the Main in `frame.attrs["attrs"]`.

    Parameters
    ----------
    obj : a Main, or a Dataset whose variables are the fields of one, each a column
    largest : refuse more rows than these, since a row takes a hundred bytes or more; None to take
        any number. A lazy table may have any
    lazily : a dask DataFrame, in parts of some million rows along the first dimension, of which
        nothing is read yet

    Raises
    ------
    OptionError : for more rows than `largest`
    MissingDependencyError : where dask has no DataFrames, which need pyarrow
    LayoutError : where a dimension has no role

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> frame = to_dataframe(make_main((2, 3, 4)))
    >>> list(frame.columns), len(frame)
    (['Y', 'X', 'Frequency', 'Raw_Data'], 24)
    >>> frame.attrs["units"]["Frequency"]
    'Hz'
    """
    position, spectroscopic = dims_by_role(obj)
    dims = (*position, *spectroscopic)
    rows = int(np.prod([obj.sizes[dim] for dim in dims], dtype=np.int64))
    if lazily and dims:
        return _lazy_table(obj, dims, rows)
    if largest is not None and rows > largest:
        raise OptionError(
            f"a table of {rows} rows is larger than largest={largest}; select a part first, write "
            "to_csv(path), which takes no memory, or pass lazily=True or largest=None"
        )
    return _table(obj, dims)


def _lazy_table(obj: xr.DataArray | xr.Dataset, dims: tuple[str, ...], rows: int) -> Any:
    """A dask DataFrame whose parts are runs along the first dimension."""
    try:
        import dask.dataframe as dd
    except ImportError as error:
        raise MissingDependencyError(
            f"a lazy table needs DataFrames of dask ({error}); install what is missing: "
            'pip install "usidx[dataframe]"'
        ) from error
    first, size = dims[0], obj.sizes[dims[0]]
    each = max(1, rows // max(1, size))
    step = max(1, _PART_ROWS // each)
    starts = list(range(0, size, step)) or [0]
    bounds = [(start, min(start + step, size)) for start in starts]
    return dd.from_map(
        functools.partial(_part, obj, dims, each),
        bounds,
        meta=_table(obj.isel({first: slice(0, 0)}), dims),
        divisions=[*(start * each for start in starts), max(0, rows - 1)],
    )


def _part(
    obj: xr.DataArray | xr.Dataset, dims: tuple[str, ...], each: int, bounds: tuple[int, int]
) -> pd.DataFrame:
    """Rows of a run along the first dimension, read by the thread that asks for them."""
    import dask

    with dask.config.set(scheduler="synchronous"):
        found = _table(obj.isel({dims[0]: slice(*bounds)}), dims)
    found.index = found.index + bounds[0] * each
    return found


def _table(obj: xr.DataArray | xr.Dataset, dims: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    arranged = obj.transpose(*dims)
    fields = (
        {str(arranged.name or "value"): arranged}
        if isinstance(arranged, xr.DataArray)
        else {str(name): each for name, each in arranged.data_vars.items()}
    )
    columns: dict[str, xr.DataArray] = {}
    for dim in dims:
        columns[dim] = arranged[dim]
    for name, each in arranged.coords.items():
        if each.dims and not {ORDER, INDEX_OF} & set(each.attrs):
            columns.setdefault(str(name), each)
    for name, each in fields.items():
        columns[f"{name}_value" if name in columns else name] = each
    shape = tuple(arranged.sizes[dim] for dim in dims)
    frame = pd.DataFrame({name: _spread(each, dims, shape) for name, each in columns.items()})
    frame.attrs["units"] = {
        name: str(each.attrs["units"]) for name, each in columns.items() if each.attrs.get("units")
    }
    frame.attrs["attrs"] = dict(obj.attrs)
    return frame


def _spread(values: xr.DataArray, dims: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Values for every row, one after the other."""
    along = [dim for dim in dims if dim in values.dims]
    sizes = [size if dim in along else 1 for dim, size in zip(dims, shape)]
    whole = np.broadcast_to(values.transpose(*along).values.reshape(sizes), shape)
    return whole.reshape(-1)
