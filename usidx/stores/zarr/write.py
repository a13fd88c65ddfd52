"""Result groups in a Zarr store: claimed whole, written chunk by chunk, marked, completed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from usidx.errors import (
    DamagedStoreError,
    NoSpaceError,
    NotUsidError,
    PlanError,
    SourceChangedError,
    StoreLockedError,
)
from usidx.model.names import next_index, result_name
from usidx.model.provenance import book_keeping, canonical, dump_parameters
from usidx.stores import disk
from usidx.stores.base import BlockWriter, ResultRecord, ResultRequest
from usidx.stores.compression import IN_ZARR, codec_of
from usidx.stores.leaves.attributes import pack, source_attrs
from usidx.stores.leaves.leaf import VERSION
from usidx.stores.lock import StoreLock, held, holder_of, run_lock, store_lock, sweep_runs
from usidx.stores.zarr.create import create_leaf
from usidx.stores.zarr.failures import add_failures, numbers_of, prepare
from usidx.stores.zarr.nodes import (
    ZarrFormat,
    children,
    consolidate,
    folder_of,
    format_of,
    group_node,
    read_node,
    size_of_metadata,
    write_node,
)
from usidx.stores.zarr.read import leaves_of, result
from usidx.stores.zarr.staging import aside, place, tidy, writing
from usidx.stores.zarr.writer import writer_of

_LOCK_TIMEOUT = 30.0
# The lock of a group is taken for a run of hours, or for the moment in which it is tidied away.
_RUN_TIMEOUT = 0.5


class ZarrClaim:
    """A result group held by this process for writing."""

    def __init__(self, root: str, group: str, lock: StoreLock, *, durable: bool = False) -> None:
        self._root = root
        self._lock = lock
        self.group = group
        """Path of the group."""
        self._writers = {
            path.rsplit("/", 1)[-1]: writer_of(root, path, node, lock, durable=durable)
            for path, node in leaves_of(root, group)
        }

    @property
    def writers(self) -> Mapping[str, BlockWriter]:
        """One writer for each output, by the name of its Main."""
        return self._writers

    def complete(self) -> None:
        """Mark the whole group complete, and let go of it.

        Raises
        ------
        StoreLockedError : where the claim has ended
        PlanError : while any position is not marked
        DamagedStoreError : where a chunk is missing though its positions are marked
        """
        holder = holder_of(self._lock.path)
        if not self._lock.token or holder is None or holder.token != self._lock.token:
            raise StoreLockedError(
                f"the claim on {self.group!r} has ended; resume the result to go on with it"
            )
        with held(store_lock(self._root, f"completing {self.group}"), _LOCK_TIMEOUT):
            for name, writer in self._writers.items():
                done = writer.done()
                if not done.all():
                    raise PlanError(
                        f"{self.group!r} is not complete: {int(done.sum())} of {done.size} "
                        f"positions of {name!r} are marked; write the others first"
                    )
                missing = writer.missing_chunks()
                if missing:
                    raise DamagedStoreError(
                        f"{len(missing)} chunk files of {self.group!r} are gone though they were "
                        f"written, the first is {missing[0]!r}; run the step again"
                    )
            folder = folder_of(self._root, self.group)
            node = read_node(folder)
            if node is None:
                raise SourceChangedError(f"{folder!r} was removed while results were written")
            last = max((writer.done().size for writer in self._writers.values()), default=0)
            node["attributes"].update({"usid_status": "complete", "last_pixel": last})
            with writing(folder, lambda: 2 * size_of_metadata(self._root)):
                # in this order: a group that is complete is so for plain xarray, too
                consolidate(self._root, {self.group: node})
                write_node(folder, node)
            tidy(self._root)
            _sweep(self._root, self.group)
            self._lock.release()

    def __enter__(self) -> ZarrClaim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the group; what is marked stays marked."""
        self._lock.release()


def claim(root: str, request: ResultRequest, *, durable: bool = False) -> ZarrClaim:
    """Create a result group, all of it or nothing, and hold it.

    The store is made where there is nothing at `root` yet.

    Parameters
    ----------
    durable : wait until values are on disk before they are marked, and until the marks are, so
        that even a power failure leaves no mark without its values

    Raises
    ------
    StoreLockedError : while another process changes the store
    ReadOnlyStoreError, NoSpaceError : where nothing can be written
    InvalidMainError, OptionError, PlanError : for what Zarr cannot keep
    """
    root = os.path.realpath(root)
    with held(store_lock(root, f"making results of {request.tool}"), _LOCK_TIMEOUT):
        _check_room(root, request)
        parent = "/" + request.parent.strip("/")
        name = _free_name(root, parent, request)
        group = f"{parent.rstrip('/')}/{name}"
        lock = run_lock(root, group, f"computing {request.tool}")
        lock.acquire(_RUN_TIMEOUT)
        try:
            with aside(root) as folder, writing(root, lambda: _needed_by(request)):
                _create_group(os.path.join(folder, "new"), request, name, format_of(root))
                place(os.path.join(folder, "new"), root, group)
                consolidate(root)
            _sweep(root, group)
            sweep_runs(root)
            return ZarrClaim(root, group, lock, durable=durable)
        except BaseException:
            lock.release()
            raise


def reopen(
    root: str, group: str, *, durable: bool = False, failures: bool = False, retry: bool = False
) -> ZarrClaim:
    """Hold the partial result group at path `group`, to go on with it.

    Parameters
    ----------
    durable : as for `claim`
    failures : whether it gets room to say where the step fails, unless it has it
    retry : whether the positions at which it failed are no longer marked; the group may be complete

    Raises
    ------
    MainNotFoundError : where there is none
    PlanError : where it is complete already, or was not made by usidx
    StoreLockedError : while another process writes it
    """
    root = os.path.realpath(root)
    group = "/" + group.strip("/")
    lock = run_lock(root, group, "resuming")
    result(root, group)
    lock.acquire(_RUN_TIMEOUT)
    try:
        record = result(root, group)  # only now: it may have been completed in between
        if record.status != "partial" and not (retry and record.failed):
            raise PlanError(
                f"{group!r} in {root!r} is {record.status}, there is nothing to resume; "
                "open it, or run the step with fresh=True"
            )
        _sweep(root, group, above=False)
        _prepare(root, record, failures, retry and bool(record.failed))
        return ZarrClaim(root, group, lock, durable=durable)
    except BaseException:
        lock.release()
        raise


def _prepare(root: str, record: ResultRecord, failures: bool, retry: bool) -> None:
    """Make a group ready to be gone on with, where it says or shall say where the step failed."""
    folders = [folder_of(root, path) for path in record.mains]
    nodes = [read_node(each) for each in folders]
    missing = any(node is not None and not numbers_of(node) for node in nodes)
    if retry or (failures and missing):
        with held(store_lock(root, f"resuming {record.group}"), _LOCK_TIMEOUT), writing(root):
            for folder in folders if failures else ():
                add_failures(folder)
            node = read_node(folder_of(root, record.group))
            if retry and node is not None:
                # first: what loses its mark is missing from a group that is partial
                node["attributes"]["usid_status"] = "partial"
                node["attributes"].pop("last_pixel", None)
                write_node(folder_of(root, record.group), node)
            consolidate(root)
    with writing(root):
        for folder in folders:
            prepare(folder, retry=retry)


def _check_room(root: str, request: ResultRequest) -> None:
    """Refuse what the disk has no room for, counted uncompressed: better now than halfway."""
    needed = _needed_by(request)
    folder = root if os.path.isdir(root) else os.path.dirname(root)
    if needed > (free := shutil.disk_usage(folder).free):
        raise NoSpaceError(
            f"results of {request.tool!r} take up to {disk.sized(needed)}, {root!r} has room for "
            f"{disk.sized(free)}; make room or put them into another store"
        )


def _needed_by(request: ResultRequest) -> int:
    """How many bytes the values take that a request asks room for, uncompressed."""
    return sum(output.spec.nbytes for output in request.outputs)


def _free_name(root: str, parent: str, request: ResultRequest) -> str:
    if os.path.isdir(root) and os.listdir(root) and read_node(root) is None:
        raise NotUsidError(
            f"{root!r} is no Zarr store, so no results can be put into it; "
            "name a folder that does not exist yet, or convert it with to_zarr"
        )
    folder = folder_of(root, parent)
    taken = children(folder) if os.path.isdir(folder) else []
    return result_name(request.main, request.tool, next_index(taken, request.main, request.tool))


def _create_group(folder: str, request: ResultRequest, name: str, zarr_format: ZarrFormat) -> None:
    codec: Any = codec_of(request.compression, IN_ZARR, "lz4", "a Zarr store")
    os.mkdir(folder)
    for output in request.outputs:
        leaf = os.path.join(folder, output.spec.name)
        create_leaf(
            leaf,
            output.spec,
            output.block,
            compression=codec,
            marked=True,
            zarr_format=zarr_format,
        )
        if request.failures:
            add_failures(leaf, wait=False)
    parameters = canonical(request.parameters)
    own: dict[str, Any] = {
        **book_keeping(),
        "tool": request.tool,
        **source_attrs(request.sources),
        "usid_parameters": dump_parameters(parameters),
        "usid_fingerprint": request.fingerprint,
        "usid_version": request.version,
        "usid_status": "partial",
    }
    plain, exact = pack({**parameters, **request.attrs, **own}, name)
    entry = {"version": VERSION, "kind": "result", "attrs": exact}
    write_node(folder, group_node({**plain, "usid": entry}, zarr_format), wait=False)


def _sweep(root: str, group: str, *, above: bool = True) -> None:
    """Remove what writers that were killed left half written in a group, and on the way to it.

    Nobody else writes in a group that is held, nor, while the store is, on the way to it.

    Parameters
    ----------
    above : whether the store is held
    """
    found = [(parent, files) for parent, _, files in os.walk(folder_of(root, group))]
    parts = [part for part in group.split("/") if part]
    for depth in range(len(parts) if above else 0):
        folder = folder_of(root, "/".join(parts[:depth]))
        found.append((folder, os.listdir(folder)))
    for parent, names in found:
        for name in names:
            if name.endswith(disk.PARTIAL_SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    disk.remove(os.path.join(parent, name))
