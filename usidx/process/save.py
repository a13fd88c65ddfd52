"""A lazy result that people made themselves, as a result group beside its source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from usidx.process.planning.bind import bind_result
from usidx.process.planning.further import further_sources
from usidx.process.planning.identity import Labelled
from usidx.process.results.result import ResultGroup
from usidx.process.results.target import Path
from usidx.process.run import Options, run_plan
from usidx.process.running.events import BlockDone
from usidx.process.running.failures import OnError
from usidx.stores.compression import Compression


def save(
    source: Labelled,
    result: Labelled,
    tool: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    version: str = "1",
    into: Path | None = None,
    client: Any = None,
    memory: int | float | str | None = None,
    workers: int | None = None,
    progress: bool | None = None,
    fresh: bool = False,
    on_block: Callable[[BlockDone], None] | None = None,
    durable: bool = False,
    sources: Sequence[Labelled] | None = None,
    processes: bool | None = None,
    on_error: OnError = "raise",
    retry_failed: bool = False,
    compression: Compression = None,
) -> ResultGroup:
    """The result group `<Main>-<tool>_NNN` of a lazy result, computed block by block.

    What is there already is found and resumed as for a step: the same tool, version, parameters,
    source, and operations on it. dask tells operations apart by their functions and arguments; a
    function imported from a module goes by its name, so change `version` when you change its code.

    A result of several Mains has all of them as its sources: those that its dask graph names, and
    those in `sources`.

    Where each position is computed from itself alone, little is read at a time, however large the
    chunks are in which the source was opened. That is known of results of `da.usid.map`, and of
    arithmetic and other functions of single values; others are computed in chunks of the source.

    Parameters
    ----------
    source : what the result was made of; the result group goes beside it
    result : lazy DataArray or Dataset
    tool : what it is called
    parameters : to be recorded with it
    version : to be changed whenever the code that made it was
    into, client, memory, workers, progress, fresh, on_block, durable, processes : as for
        `Process.run`
    compression : as for `Process.run`
    on_error, retry_failed : as for `Process.run`; single positions are told apart where the result
        is one of `da.usid.map`, as that gave it

    sources : other Mains that it was made of, where the graph does not tell: after `persist`, or
        where a function of yours read them

    Raises
    ------
    PlanError : for a result that is no Main, or without `into` where the source is not the whole
        of a stored Main
    StepError : where computing a block raises; what is done is kept
    """
    further = further_sources(source, result, sources or ())
    replan = functools.partial(
        bind_result,
        result,
        source,
        tool,
        dict(parameters or {}),
        version=version,
        further=further,
    )
    options = Options(
        client,
        memory,
        workers,
        progress,
        on_block,
        durable=durable,
        processes=processes,
        on_error=on_error,
        retry_failed=retry_failed,
        compression=compression,
    )
    return run_plan(replan(), replan, into, options, fresh=fresh)
