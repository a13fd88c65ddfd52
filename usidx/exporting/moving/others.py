"""Datasets of a tree that are no Mains, as they are to be written to a file beside them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from usidx.arrays.extras import is_extra
from usidx.errors import OptionError

# Where these have an axis for each dimension of the positions, they are of another kind of store.
_MARKS = re.compile(r"completed(_.*)?_positions", re.IGNORECASE)
_FAILURES = re.compile(r"failed(_.*)?_positions|failure_reasons")


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


def without_failures(others: Iterable[Other], groups: Collection[str]) -> Iterator[Other]:
    """The datasets but for those that say where a step failed, which come along with the Mains.

    Parameters
    ----------
    groups : paths of the result groups whose Mains are as they are stored
    """
    for other in others:
        parent, _, name = other.path.rpartition("/")
        if parent not in groups or not _FAILURES.fullmatch(name):
            yield other


def add_others(others: Iterable[Other], add: Callable[..., None], store: str) -> None:
    """Write datasets that are no Mains to a new store; what it cannot hold is named in a warning.

    Parameters
    ----------
    others : the datasets
    add : takes the path, values, names of the axes and attributes of one, and refuses it by an
        OptionError
    store : what is written, for the warning
    """
    left_out = []
    for other in others:
        if _MARKS.fullmatch(other.path.rpartition("/")[2]):
            continue  # each Main of such a store has marks of its own
        dims = [str(dim) for dim in other.values.dims]
        try:
            add(other.path, other.values, dims, other.attrs)
        except OptionError as error:
            left_out.append(f"{other.path} ({error})")
    if left_out:
        warnings.warn(
            f"{store!r} cannot hold, and is written without: {'; '.join(left_out)}. An h5USID file "
            "can (to_h5usid)",
            stacklevel=3,
        )
