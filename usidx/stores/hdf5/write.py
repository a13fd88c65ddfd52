"""Write into HDF5 files: claim result groups, hold them while they are written, complete them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType, TracebackType

import h5py
import numpy as np

from usidx.errors import MainNotFoundError, NoSpaceError, PlanError, StoreLockedError
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.base import ResultRequest
from usidx.stores.compression import IN_HDF5, codec_of
from usidx.stores.hdf5.file import open_file
from usidx.stores.hdf5.objects.place import plain_offset
from usidx.stores.hdf5.read import open_main, result
from usidx.stores.hdf5.transactions.transaction import transaction
from usidx.stores.hdf5.writing.block_writer import HDF5BlockWriter
from usidx.stores.hdf5.writing.compressed import CompressedWriter
from usidx.stores.hdf5.writing.create import create_file, draft
from usidx.stores.hdf5.writing.describe import write_attribute
from usidx.stores.hdf5.writing.encoding import Encoding, encoding_of
from usidx.stores.hdf5.writing.failures import FailureMarks, find_failures, prepare
from usidx.stores.hdf5.writing.foreign import (
    TransactionWriter,
    complete_shared_marks,
    make_marks,
    marks_of,
)
from usidx.stores.hdf5.writing.new_result import STATUS, Span, create_group, span_of
from usidx.stores.hdf5.writing.room import FileMark, Room
from usidx.stores.lock import StoreLock, holder_of, run_lock, sweep_runs

__all__ = ["HDF5Claim", "claim", "create_file", "draft", "reopen"]

Writer = HDF5BlockWriter | CompressedWriter | TransactionWriter
# Where values and marks of an output are; the path of its marks, where neither has a place.
Places = tuple[Span | Encoding, Span] | str

# The lock of a group is taken for a run of hours, or for the moment in which it is tidied away.
_RUN_TIMEOUT = 0.5


class HDF5Claim:
    """A result group in an HDF5 file, held by this process until `__exit__` or `complete`."""

    def __init__(
        self, path: str, group: str, writers: Mapping[str, Writer], run: StoreLock
    ) -> None:
        self.path = path
        self.group = group
        self.writers: Mapping[str, Writer] = MappingProxyType(dict(writers))
        self._run = run

    def complete(self, *, timeout: float = 30.0) -> None:
        """Mark the whole group complete, and let go of it.

        Raises
        ------
        PlanError : while any position is not marked
        StoreLockedError : where the claim has ended, or others did not let go of the file in time
        """
        self._check_held()
        for writer in self.writers.values():
            missing = int(np.count_nonzero(~writer.done()))
            if missing:
                raise PlanError(
                    f"{self.group!r} cannot be completed: {missing} of {writer.n_rows} positions "
                    f"of {writer.main!r} are not marked; write and mark them first"
                )
        what = f"completing {self.group!r}"
        with transaction(self.path, timeout=timeout, what=what) as file:
            group = file.get(self.group)
            if not isinstance(group, h5py.Group):
                raise MainNotFoundError(f"{self.group!r} is no longer in {self.path!r}")
            write_attribute(group, "last_pixel", max(w.n_rows for w in self.writers.values()))
            write_attribute(group, STATUS, "complete")
            complete_shared_marks(group)
        self._run.release()

    def __enter__(self) -> HDF5Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the group; what is marked stays marked."""
        self._run.release()

    def _check_held(self) -> None:
        holder = holder_of(self._run.path)
        if not self._run.token or holder is None or holder.token != self._run.token:
            raise StoreLockedError(
                f"the claim on {self.group!r} has ended; resume the result to go on with it"
            )


def claim(
    path: str, request: ResultRequest, *, timeout: float = 30.0, durable: bool = False
) -> HDF5Claim:
    """A new result group in the file at `path`, with room for all its values, held for writing.

    Everything but values is in the file when this returns, or nothing is.

    Parameters
    ----------
    path : of an HDF5 file
    request : what to make
    timeout : seconds to wait for others at work on the file
    durable : wait until values are on disk before they are marked, so that even a power failure
        leaves no mark without its values

    Raises
    ------
    MainNotFoundError, PlanError : where the request does not fit the file
    NoSpaceError : where the disk has no room; nothing is changed
    ReadOnlyStoreError, StoreLockedError, ... : as for `transaction`
    """
    what = f"making a result of {request.tool!r} for {request.main!r}"
    if codec_of(request.compression, IN_HDF5, None, path) is not None:
        _check_room(path, request)
    run: StoreLock | None = None
    try:
        with transaction(path, timeout=timeout, what=what) as file:
            created = create_group(file, request)
            run = run_lock(path, created.group, f"writing {created.group!r}")
            # nobody else may resume the group in the moment after the commit
            run.acquire(_RUN_TIMEOUT)
        specs = {each.spec.name: each.spec for each in request.outputs}
        writers = _writers(path, created.outputs, specs, run, durable)
        if request.failures:
            writers = _with_failures(path, created.group, writers)
        sweep_runs(path)
    except BaseException:
        if run is not None:
            run.release()
        raise
    return HDF5Claim(path, created.group, writers, run)


def reopen(
    path: str, group: str, *, durable: bool = False, failures: bool = False, retry: bool = False
) -> HDF5Claim:
    """A partial result group in the file at `path`, held to go on with it.

    Parameters
    ----------
    failures : whether it gets room to say where the step fails, unless it has it
    retry : whether the positions at which it failed are no longer marked; the group may be complete

    Raises
    ------
    StoreLockedError : while somebody writes it, naming who
    MainNotFoundError : where there is no such group
    PlanError : where it is complete, or does not say which positions are
    """
    run = run_lock(path, group, f"resuming {group!r}")
    run.acquire(_RUN_TIMEOUT)
    try:
        specs = _specs_to_resume(path, group, retry)
        outputs = _find_outputs(path, group, specs)
        if outputs is None:
            make_marks(path, group, specs)
            outputs = _find_outputs(path, group, specs) or {}
        rows = {name: each.position.size for name, each in specs.items()}
        prepare(path, group, rows, STATUS, create=failures, retry=retry)
        writers = _writers(path, outputs, specs, run, durable, spare=True)
        writers = _with_failures(path, group, writers)
    except BaseException:
        run.release()
        raise
    return HDF5Claim(path, group, writers, run)


def _check_room(path: str, request: ResultRequest) -> None:
    """Refuse what the disk has no room for, counted uncompressed: better now than halfway."""
    needed = sum(output.spec.nbytes for output in request.outputs)
    free = shutil.disk_usage(os.path.dirname(os.path.realpath(path))).free
    if needed > free:
        raise NoSpaceError(
            f"results of {request.tool!r} take up to {disk.sized(needed)}, and there is room for "
            f"{disk.sized(free)} where {path!r} is; make room, or put results elsewhere with into="
        )


def _writers(
    path: str,
    outputs: Mapping[str, Places],
    specs: Mapping[str, MainSpec],
    run: StoreLock,
    durable: bool,
    *,
    spare: bool = False,
) -> dict[str, Writer]:
    real = os.path.realpath(path)
    writers: dict[str, Writer] = {}
    with disk.opened(real, os.O_RDONLY) as descriptor:
        for name, places in outputs.items():
            spec = specs[name]
            if isinstance(places, str):
                writers[name] = TransactionWriter(real, spec, places, run.path, run.token)
                continue
            values, marks = places
            room = Room.of(marks, descriptor)
            writer = HDF5BlockWriter(
                path=real,
                main=f"{marks.name.rpartition('/')[0]}/{name}",
                shape=spec.shape,
                dtype=spec.dtype,
                n_position=len(spec.position.dims),
                row_order=spec.position.order,
                column_order=spec.spectroscopic.order,
                values=Room.of(values, descriptor) if isinstance(values, Span) else room,
                marks=room,
                file=FileMark.of(descriptor),
                run=run.path,
                token=run.token,
                durable=durable,
                spare=spare,
            )
            if isinstance(values, Span):
                writers[name] = writer
            else:
                writers[name] = CompressedWriter(replace(spec, path=writer.main), values, writer)
    return writers


def _with_failures(path: str, group: str, writers: Mapping[str, Writer]) -> dict[str, Writer]:
    """The writers with the places where they say at which positions the step failed."""
    found: dict[str, Writer] = {}
    real, alone = os.path.realpath(path), len(writers) == 1
    with open_file(path) as file, disk.opened(real, os.O_RDONLY) as descriptor:
        for name, writer in writers.items():
            pair = find_failures(file[group], name, alone, writer.n_rows)
            spans = [] if pair is None else [span_of(each) for each in pair]
            if pair is None or None in spans:
                found[name] = writer
            elif isinstance(writer, TransactionWriter):
                found[name] = replace(writer, failures=(str(pair[0].name), str(pair[1].name)))
            else:
                rooms = FailureMarks(*(Room.of(each, descriptor) for each in spans if each))
                if isinstance(writer, CompressedWriter):
                    found[name] = replace(writer, marks=replace(writer.marks, failures=rooms))
                else:
                    found[name] = replace(writer, failures=rooms)
    return found


def _specs_to_resume(path: str, group: str, retry: bool) -> dict[str, MainSpec]:
    """What the Mains of a partial group are, by name."""
    record = result(path, group)
    # all marked, but not yet declared complete: there is one thing left to do
    finished = record.status == "complete" and record.attrs.get(STATUS) != "partial"
    if finished and not (retry and record.failed):
        raise PlanError(f"{group!r} is complete; there is nothing to resume")
    specs = {}
    for main in record.mains:
        spec = open_main(path, main).spec
        specs[spec.name] = spec
    if not specs:
        raise PlanError(
            f"{group!r} has no Main to go on with; it was left empty. Run the step again"
        )
    return specs


def _find_outputs(path: str, group: str, specs: Mapping[str, MainSpec]) -> dict[str, Places] | None:
    """Where values and marks of each Main of a group lie, looked up in the file.

    The path of the marks alone, where values or marks do not lie in one piece; None where a Main
    has no marks of its own.

    Raises
    ------
    PlanError : where marks are not what marks are
    """
    found: dict[str, Places] = {}
    with open_file(path) as file:
        for name, spec in specs.items():
            marks = marks_of(file[group], name, len(specs) == 1)
            if marks is None:
                return None
            if marks.dtype != np.uint8 or marks.shape != (spec.position.size,):
                raise PlanError(
                    f"{marks.name!r} is {marks.dtype} of shape {marks.shape}, expected uint8 of "
                    f"shape ({spec.position.size},); {group!r} cannot be resumed, run the step "
                    "again with fresh=True"
                )
            main = file[spec.path]
            values = span_of(main) if plain_offset(main) is not None else encoding_of(main)
            span = span_of(marks)
            if values is None or span is None:
                found[name] = str(marks.name)
            else:
                found[name] = values, span
    return found
