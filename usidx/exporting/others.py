"""Datasets of a tree that are no Mains, as they are to be written to a file beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from usidx.arrays.extras import is_extra

# Where these have an axis for each dimension of the positions, they are of another kind of store.
_MARKS = re.compile(r"completed(_.*)?_positions", re.IGNORECASE)


@dataclass(frozen=True)
class Other:
    """A dataset that is no Main.

    Parameters
    ----------
    path : in the file
    values : of any shape, lazily
    attrs : of the dataset
    """

    path: str
    values: xr.DataArray
    attrs: Mapping[str, Any]


def others_of(node: xr.DataTree, where: str) -> Iterator[Other]:
    """The datasets in a node of a tree that are no Mains; `where` is its path."""
    dataset = node.to_dataset(inherit=False)
    for name, variable in dataset.variables.items():
        if not is_extra(variable) or (_MARKS.fullmatch(str(name)) and variable.ndim != 1):
            continue
        attrs = {
            key: value for key, value in variable.attrs.items() if not str(key).startswith("usid_")
        }
        # Not as a variable of the Dataset: coordinates would come with it.
        yield Other(f"{where.rstrip('/')}/{name}", xr.DataArray(variable), attrs)
