"""A Main as a pandas DataFrame: a row for each value, with its coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from usidx.arrays.columns import INDEX_OF, ORDER
from usidx.arrays.roles import dims_by_role
from usidx.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 10_000_000


def to_dataframe(obj: xr.DataArray | xr.Dataset, *, largest: int | None = LARGEST) -> pd.DataFrame:
    """A table in memory with a row for each value: its coordinates, and then the value.

    Rows are in the order of the array, positions first. Units of each column are in
    `frame.attrs["units"]`, attributes of the Main in `frame.attrs["attrs"]`.

    Parameters
    ----------
    obj : a Main, or a Dataset whose variables are the fields of one, each a column
    largest : refuse more rows than these, since a row takes a hundred bytes or more; None to take
        any number

    Raises
    ------
    OptionError : for more rows than `largest`
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
    import pandas as pd

    position, spectroscopic = dims_by_role(obj)
    dims = (*position, *spectroscopic)
    rows = int(np.prod([obj.sizes[dim] for dim in dims], dtype=np.int64))
    if largest is not None and rows > largest:
        raise OptionError(
            f"a table of {rows} rows is larger than largest={largest}; select a part first, write "
            "to_csv(path), which takes no memory, or pass largest=None"
        )
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
