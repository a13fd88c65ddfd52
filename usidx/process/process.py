"""A step bound to a source: look at it, then run it."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import xarray as xr

from usidx.errors import PlanError
from usidx.model.inputs import in_words
from usidx.process.planning.bind import bind
from usidx.process.planning.held import held_by
from usidx.process.planning.identity import Labelled
from usidx.process.planning.inputs import at, call
from usidx.process.planning.place import place_of
from usidx.process.planning.plan import Plan
from usidx.process.results.result import ResultGroup
from usidx.process.results.target import Path, target_of, twins_of
from usidx.process.run import Options, resume_plan, run_plan
from usidx.process.running.connect import connected
from usidx.process.running.estimate import Estimate, estimate_of
from usidx.process.running.events import BlockDone
from usidx.process.running.failures import OnError
from usidx.process.running.room import plan_for
from usidx.process.running.runner import find_executor
from usidx.step import Step
from usidx.stores.compression import Compression


class Process:
    """A step bound to a source; nothing is computed before `preview` or `run`.

    Parameters
    ----------
    step : a Step
    source : DataArray, or Dataset of a compound Main
    parameters : of the step; those left out have their defaults

    Raises
    ------
    PlanError : for wrong parameters, or a result that is no Main
    LayoutError : where the dimensions of the result have no roles

    Examples
    --------
    >>> from usidx.steps import peak_response
    >>> from usidx.testing import make_main
    >>> process = Process(peak_response, make_main(chunks={}), {"along": "Frequency"})
    >>> process.preview(X=2.0, Y=0.0).shape
    ()
    >>> process.estimate().outputs[0].shape
    (4, 5, 1)
    """

    def __init__(
        self, step: Step[..., Any], source: Labelled, parameters: Mapping[str, Any] | None = None
    ) -> None:
        self.step = step
        self._given = dict(parameters or {})
        self.plan = bind(step, source, self._given)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """All parameters of the step, defaults included."""
        return self.plan.parameters

    def preview(
        self, *, isel: Mapping[str, int] | None = None, **coordinates: Any
    ) -> xr.DataArray | xr.Dataset:
        """The result at one position, computed now.

        Parameters
        ----------
        isel : index along position dimensions, as in `DataArray.isel`
        coordinates : values of position coordinates, X=1.5 and the like; the nearest position is
            taken, as in `sel(method="nearest")`

        Dimensions that are not named are taken in the middle.

        Raises
        ------
        PlanError : for names that are no position coordinate, and where no part of the result
            belongs to single positions
        """
        source = self.plan.labelled
        place = place_of(source, coordinates, isel)
        arguments = dict(self.plan.arguments)
        if self.step.per_position:
            here = {dim: slice(index, index + 1) for dim, index in place.items()}
            arguments = {name: at(value, here, source) for name, value in arguments.items()}
            source = at(source, here, source)
            place = dict.fromkeys(place, 0)
        result = call(self.step, source, arguments)
        within = {dim: index for dim, index in place.items() if dim in result.dims}
        if not within:
            raise PlanError(
                f"no part of what {self.step.name!r} makes belongs to a single position, so there "
                "is nothing to preview; .estimate() says what a run takes"
            )
        computed: xr.DataArray | xr.Dataset = result.isel(within).compute()
        return computed.rename(self.step.name) if isinstance(computed, xr.DataArray) else computed

    def estimate(
        self,
        into: Path | None = None,
        *,
        client: Any = None,
        memory: int | float | str | None = None,
        workers: int | None = None,
    ) -> Estimate:
        """What `run` with the same arguments takes: outputs, blocks, memory and disk.

        Raises
        ------
        PlanError : where it does not fit into `memory`
        """
        with connected(client) as given:
            executor = find_executor(given, workers)
            plan = plan_for(self.plan, self._replan, executor, memory)
            at_once = executor.workers
            threads = int(getattr(executor, "threads", at_once))
        origin = plan.source.origin
        folder = os.fspath(into) if into is not None else (origin.store if origin else None)
        found = estimate_of(plan, at_once, folder, threads=threads)
        return found if found.streamed else replace(found, kept=found.kept + held_by(plan, at_once))

    def measure(self, into: Path | None = None, **options: Any) -> Estimate:
        """What `run` takes, with the time: one block is computed to know it, and nothing is stored.

        Parameters
        ----------
        into, options : as for `estimate`

        Raises
        ------
        StepError : where the step raises in that block
        PlanError : where it does not fit into `memory`

        Examples
        --------
        >>> from usidx.steps import peak_response
        >>> from usidx.testing import make_main
        >>> Process(peak_response, make_main(chunks={})).measure().seconds < 60
        True
        """
        return self.estimate(into, **options).measure()

    def existing(self, into: Path | None = None) -> tuple[ResultGroup, ...]:
        """Result groups of the same step, version, parameters and source, complete ones first.

        Parameters
        ----------
        into : the store to look in; that of the source when None. An array that is not the whole
            of a stored Main has no such store, and no groups there
        """
        if into is None and self.plan.source.origin is None:
            return ()
        store = target_of(into, self.plan.source).store
        return tuple(ResultGroup(store.path, each.group) for each in twins_of(self.plan, store))

    def run(
        self,
        into: Path | None = None,
        *,
        client: Any = None,
        memory: int | float | str | None = None,
        workers: int | None = None,
        progress: bool | None = None,
        fresh: bool = False,
        on_block: Callable[[BlockDone], None] | None = None,
        durable: bool = False,
        processes: bool | None = None,
        on_error: OnError = "raise",
        retry_failed: bool = False,
        compression: Compression = None,
    ) -> ResultGroup:
        """The result group, complete: found, resumed, or computed anew.

        A complete group of the same step, version, parameters and source is returned as it is. A
        partial one is resumed: only blocks that are not marked are computed.

        Parameters
        ----------
        into : path of the store; that of the source when None. A new one is made where the path
            ends with .zarr or .h5
        client : `distributed.Client` to run on, the address of a scheduler, or a cluster; the
            client in scope when None, this machine where there is none or for False
        memory : bytes, or text such as "4GB", that all blocks at once may take in one process
        workers : how many threads or processes of this machine
        progress : whether to show a bar; when None, where somebody looks on and it takes a while
        fresh : make a new group whatever there is
        on_block : called after each block
        durable : wait before each mark until the values are on disk. A crash loses nothing in any
            case; with it, neither does a loss of power
        processes : whether to run in processes of this machine, which stay out of each other's
            way; when None, for plain Python functions of single spectra
            (`map(..., vectorized=False)`) that take long enough
        on_error : "raise" ends the run where the step raises. "mark" goes on: positions at which
            it raises are NaN (0 in integers), and `.failed` of the result says which they are,
            and why. Where the step does not promise to act on each position alone, those are all
            of a block
        retry_failed : compute those positions again that are marked as failed, and no others
        compression : of the values of a new group: "gzip" (small) or "lzf" (fast) in HDF5, "lz4"
            (fast) or "zstd" (small) in Zarr; None for what the store does by itself (nothing in
            HDF5, "lz4" in Zarr), True for the first of these, False for none. Who computes a block
            compresses it; a group that is gone on with keeps its own

        Raises
        ------
        StepError : where the step raises, naming the position, or the block where the step does
            not act on each position alone; what is done is kept for the next run
        PlanError : without `into` for an array that is not the whole of a stored Main, or where
            a position does not fit into `memory`
        ClusterError : where the scheduler or its workers cannot be reached, or go away
        NoSpaceError, ReadOnlyStoreError, StoreLockedError : where results cannot be written
        """
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
        return run_plan(self.plan, self._replan, into, options, fresh=fresh)

    def resume(self, group: ResultGroup, **options: Any) -> ResultGroup:
        """The partial `group` that an earlier run left, completed.

        Parameters
        ----------
        options : client, memory, workers, progress, on_block, durable, processes, on_error and
            retry_failed, as for `run`

        Raises
        ------
        PlanError : where it is a group of another step, version, parameters or source
        """
        return resume_plan(self.plan, self._replan, group, Options(**options))

    def _replan(
        self,
        *,
        memory: int | None = None,
        workers: int = 1,
        blocks: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Plan:
        return bind(
            self.step,
            self.plan.labelled,
            self._given,
            memory=memory,
            workers=workers,
            blocks=blocks,
        )

    def __repr__(self) -> str:
        title = f"<usidx process {self.step.name!r}, version {self.step.version!r}>"
        return "\n".join([title, *(f"  {name:<10} {text}" for name, text in self._rows())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        title = html.escape(f"{self.step.name}, version {self.step.version}")
        return f"<table><caption>{title}</caption>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        source = self.plan.source
        sizes = ", ".join(f"{dim}: {size}" for dim, size in self.plan.labelled.sizes.items())
        place = source.origin.store if source.origin else "not stored, give run(into=...)"
        estimate = estimate_of(self.plan, 1, None)
        return [
            ("source", f"{source.path if source.origin else source.name} ({sizes}), {place}"),
            *((each.name, each.told) for each in self.plan.inputs),
            *(
                ("parameter", f"{name} = {in_words(value)}")
                for name, value in self.parameters.items()
            ),
            *(("output", str(each)) for each in estimate.outputs),
            ("blocks", f"{estimate.blocks}"),
            ("next", ".preview(), .estimate(), .existing(), .run()"),
        ]
