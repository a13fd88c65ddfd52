"""From a Main to its results, and from a result to its source."""

from __future__ import annotations

import xarray as xr

from usidx.arrays.labels import origin_of
from usidx.errors import MainNotFoundError
from usidx.model.names import clean_tool
from usidx.process.results.groups import ResultList
from usidx.process.results.result import ResultGroup
from usidx.readers import store_behind

Labelled = xr.DataArray | xr.Dataset


def results_of(obj: Labelled, tool: str | None = None) -> ResultList:
    """The result groups of a Main in its store, oldest first.

    Those that refer to it, wherever they are, and those beside it that are named after it.

    Parameters
    ----------
    obj : a Main as it was opened
    tool : the exact name of the tool; all tools when None

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
    wanted = None if tool is None else clean_tool(tool)
    found = (
        ResultGroup(origin.store, record.group, origin.allow_external)
        for record in store_behind(origin).results(origin.main)
        if wanted in (None, record.tool, record.step)
    )
    return ResultList(origin.store, origin.main, found)


def source_of(obj: Labelled) -> Labelled | None:
    """The Main that a result was computed from, opened; None for anything that is no result.

    Raises
    ------
    StoreNotFoundError, MainNotFoundError : where the source is not there any more
    """
    origin = origin_of(obj)
    if origin is None or origin.result is None:
        return None
    source = ResultGroup(origin.store, origin.result, origin.allow_external).source
    return None if source is None else source.open()


def sources_of(obj: Labelled) -> tuple[Labelled, ...]:
    """Every Main that a result was computed from, opened; () for anything that is no result.

    Raises
    ------
    StoreNotFoundError, MainNotFoundError : where one of them is not there any more
    """
    origin = origin_of(obj)
    if origin is None or origin.result is None:
        return ()
    group = ResultGroup(origin.store, origin.result, origin.allow_external)
    return tuple(each.open() for each in group.sources)
