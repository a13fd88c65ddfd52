"""Deleting a result group, whatever the store: not while it is written, or others come from it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from usidx.errors import PlanError, ReadOnlyStoreError
from usidx.stores.base import ResultRecord, Store
from usidx.stores.lock import held, run_lock

_RUN_TIMEOUT = 0.5


def delete_group(store: Store, group: str, *, force: bool = False) -> None:
    """Take a result group out of a store, all of it or nothing, once nothing speaks against it.

    Parameters
    ----------
    store : that holds the group
    group : its path
    force : delete it although results in the store were made from it. Those within it go with it,
        others stay, and can no longer be resumed

    Raises
    ------
    StoreLockedError : while the group, or one within it, is being written, naming who does
    PlanError : where results were made from it, unless forced
    MainNotFoundError : where there is no such group
    ReadOnlyStoreError, NoSpaceError : where the store cannot be changed
    """
    remove = _remover(store)
    record = store.result(group)
    made_from_it = _made_from(store, record)
    if made_from_it and not force:
        names = ", ".join(repr(each.group) for each in made_from_it)
        raise PlanError(
            f"{record.group!r} is the source of {names}; delete those first, or all that lies in "
            "it with delete(force=True)"
        )
    inside = [each.group for each in made_from_it if each.group.startswith(record.group + "/")]
    with contextlib.ExitStack() as stack:
        for each in (record.group, *inside):
            lock = run_lock(store.path, each, f"deleting {record.group!r}")
            stack.enter_context(held(lock, _RUN_TIMEOUT))
        remove(store.path, record.group)


def _made_from(store: Store, record: ResultRecord) -> list[ResultRecord]:
    """Result groups of the same store that name one of the group's Mains, and those of theirs."""
    found: dict[str, ResultRecord] = {}
    waiting = [record]
    while waiting:
        for main in waiting.pop().mains:
            for each in store.results(main):
                if each.group not in found and each.group != record.group:
                    found[each.group] = each
                    waiting.append(each)
    return list(found.values())


def _remover(store: Store) -> Callable[[str, str], None]:
    """What takes a group, by the path of its store and its own, out of this kind of store."""
    from usidx.stores.hdf5 import HDF5Store
    from usidx.stores.zarr import ZarrStore

    if isinstance(store, HDF5Store):
        from usidx.stores.hdf5.writing.delete import remove_group

        return remove_group
    if isinstance(store, ZarrStore):
        from usidx.stores.zarr.delete import remove_group as remove_folder

        return remove_folder
    raise ReadOnlyStoreError(f"{store.path!r} is no store of result groups; none is deleted")
