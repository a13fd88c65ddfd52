"""The Mains of a DataTree."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import xarray as xr

from usidx.arrays.extras import has_mains
from usidx.errors import MainNotFoundError
from usidx.explore.regions import Selections, regions_in
from usidx.stores.base import MainEntry
from usidx.stores.table import MainTable


def mains_of(tree: xr.DataTree) -> MainTable:
    """The Mains of a tree, in its order; nothing is read.

    A node with variables is a Main: one of the variable, where it has the node's name, else a
    compound one of which they are the fields.
    """
    store = str(tree.root.encoding.get("source") or "a tree in memory")
    return MainTable(store, _entries(tree))


def regions_of(tree: xr.DataTree) -> Selections:
    """Every region reference in the store that a tree was opened from.

    Raises
    ------
    MainNotFoundError : for a tree that was made in memory
    """
    store = tree.root.encoding.get("source")
    if store is None:
        raise MainNotFoundError(
            "this tree is in no store: it was made in memory; ask what usidx.open_tree gave"
        )
    return regions_in(str(store))


def _entries(tree: xr.DataTree) -> Iterator[MainEntry]:
    for node in tree.subtree:
        variables = list(node.dataset.data_vars.values())
        if not has_mains(node.to_dataset(inherit=False)):
            continue
        first = variables[0]
        single = len(variables) == 1 and "usid_main" not in node.attrs
        attrs = first.attrs if single else node.attrs
        fields = [(str(each.name), each.dtype) for each in variables]
        status, failed = attrs.get("usid_status"), attrs.get("usid_failed")
        kind = (
            re.fullmatch(r".+-[^-]+_\d{3,}", node.path.split("/")[-2]) if node.path != "/" else None
        )
        yield MainEntry(
            path=node.path,
            dims=tuple(str(dim) for dim in first.dims),
            shape=tuple(first.shape),
            quantity=str(attrs.get("quantity", "")),
            units=str(attrs.get("units", "")),
            dtype=first.dtype if single else np.dtype(fields),
            kind="result" if status is not None or kind else "raw",
            status=str(status or "complete") + (f", {failed} failed" if failed else ""),
        )
