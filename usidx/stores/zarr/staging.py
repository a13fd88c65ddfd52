"""Folders made aside and swapped in, so that a store is always the old one or the new one."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

from usidx.errors import (
    NoSpaceError,
    ReadOnlyStoreError,
    StoreExistsError,
    StoreNotFoundError,
    UsidError,
)
from usidx.stores import disk
from usidx.stores.zarr import version2
from usidx.stores.zarr.nodes import (
    FILE,
    METADATA,
    entry_of,
    folder_of,
    format_of,
    group_node,
    read_node,
    walk,
    write_node,
)

_PARTIAL = ".usidx-partial-"
_OLD = ".usidx-old-"
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def writing(path: str, needed: Callable[[], int] | None = None) -> Iterator[None]:
    """Raise what the system says of writing `path` in the block as the UsidError it means.

    `needed` is asked how many bytes there must be room for, where there is none.
    """
    try:
        yield
    except UsidError:
        raise
    except OSError as error:
        if error.errno in disk.NO_ROOM:
            count = needed() if needed is not None else 0
            what = f"up to {disk.sized(count)}" if count else "some kilobytes"
            raise NoSpaceError(
                f"there is no room to write {path!r}: {what} are needed ({error.strerror}; "
                f"{disk.room(path)} free); make room or write to another disk"
            ) from error
        if error.errno in disk.READ_ONLY:
            raise ReadOnlyStoreError(
                f"{path!r} cannot be written ({error.strerror}: {error.filename!r}); "
                "write to a folder of your own"
            ) from error
        raise


@contextlib.contextmanager
def aside(target: str) -> Iterator[str]:
    """A new empty folder beside `target`, removed in the end with all that is still in it.

    Only for who holds the lock of `target`: what a crash left there before is removed.

    Raises
    ------
    StoreNotFoundError : where the folder that is to hold `target` does not exist
    ReadOnlyStoreError : where nothing can be made in it
    """
    parent, name = os.path.split(target)
    if not os.path.isdir(parent):
        raise StoreNotFoundError(f"there is no folder {parent!r} to write {name!r} into; make it")
    tidy(target)
    folder = os.path.join(parent, f".{name}{_PARTIAL}{os.getpid()}")
    with writing(target):
        os.mkdir(folder)
    try:
        yield folder
    finally:
        remove_aside(folder)


def swap_in(source: str, target: str, *, replace: bool) -> None:
    """Give the folder `source` the name `target`; what had it before is then called `source`.

    All of it is on disk before it gets the name. Linux exchanges the two names in one step.
    Elsewhere there is a moment in which nothing has the name `target`: a crash just then is mended
    by the next one that writes or opens the store.

    Raises
    ------
    StoreExistsError : where something has the name and is not to be replaced
    """
    with writing(target):
        disk.sync_tree(source)
        if not os.path.lexists(target) or _is_empty(target):
            disk.replace(source, target)
        elif not replace:
            raise StoreExistsError(
                f"{target!r} is there already; pass overwrite=True to replace it"
            )
        elif not disk.exchange(source, target):
            _rename_both(source, target)
        disk.sync_folder(os.path.dirname(target))


def place(new: str, root: str, path: str, *, replace: bool = False) -> None:
    """Move the group in the folder `new` to `path` of the store `root`, in one step.

    Groups above it that do not exist are made, the store itself too. Only for who holds the lock of
    the store; `new` is in a folder that `aside(root)` gave.

    Raises
    ------
    StoreExistsError : where `path` is taken and not to be replaced, or is within an array or Main
    """
    parts = [part for part in path.split("/") if part]
    standing = 0  # how many of the groups above are there, the root counted
    for depth in range(len(parts)):
        above = folder_of(root, "/".join(parts[:depth]))
        node = read_node(above)
        if node is None:
            break
        if node["node_type"] != "group" or entry_of(node).get("kind") == "main":
            raise StoreExistsError(f"{above!r} is a Main, which cannot hold {path!r}")
        standing += 1
    if not parts:
        swap_in(new, root, replace=replace)
        return
    # Wrap what is new into the groups that are missing, innermost first.
    for depth in range(len(parts) - 1, standing - 1, -1):
        outer = f"{new}-{depth}"
        os.mkdir(outer)
        write_node(outer, group_node(zarr_format=format_of(root)), wait=False)
        disk.replace(new, os.path.join(outer, parts[depth]))
        new = outer
    target = folder_of(root, "/".join(parts[:standing]))
    swap_in(new, target, replace=replace)


def check_replaceable(path: str) -> None:
    """Refuse to replace anything but a Zarr node or an empty folder.

    Raises
    ------
    StoreExistsError : for a file, or a folder of other things
    """
    if not os.path.isdir(path):
        raise StoreExistsError(
            f"{path!r} is no folder, so it is no Zarr store to be replaced; choose another name"
        )
    content = os.listdir(path)
    if content and not {FILE, *version2.FILES} & set(content):
        raise StoreExistsError(
            f"the folder {path!r} is no Zarr store ({content[0]!r} is in it) and is not replaced, "
            "not even with overwrite=True; choose another name or remove it yourself"
        )


def _is_empty(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path)


def tidy(target: str) -> None:
    """Mend what a crash between two renames left, and remove what nobody will need.

    Only for who holds the lock of `target`; see `tidy_inside`, too.
    """
    parent, name = os.path.split(target)
    for each in os.listdir(parent):
        place = os.path.join(parent, each)
        if each.startswith(f".{name}{_OLD}") and not os.path.lexists(target):
            disk.replace(place, target)
        elif each.startswith((f".{name}{_OLD}", f".{name}{_PARTIAL}")):
            remove_aside(place)
    for each in os.listdir(target) if os.path.isdir(target) else ():
        if each.startswith(METADATA) and each.endswith(disk.PARTIAL_SUFFIX):
            disk.remove(os.path.join(target, each))


def tidy_inside(root: str) -> None:
    """The same for groups of the store at `root`, after a process died that held its lock."""
    for path, _ in list(walk(root)):
        folder = folder_of(root, path)
        for each in os.listdir(folder):
            name, old, _ = each.partition(_OLD)
            if not (old and name.startswith(".")):
                continue
            place, target = os.path.join(folder, each), os.path.join(folder, name[1:])
            if os.path.lexists(target):
                remove_aside(place)
            else:
                disk.replace(place, target)


def remove_aside(folder: str) -> None:
    disk.remove_tree(folder)
    if os.path.lexists(folder):
        _log.warning("%r could not be removed; it is not needed any more", folder)


def _rename_both(source: str, target: str) -> None:
    parent, name = os.path.split(target)
    old = os.path.join(parent, f".{name}{_OLD}{os.getpid()}")
    disk.replace(target, old)
    try:
        disk.replace(source, target)
    except BaseException:
        disk.replace(old, target)
        raise
    disk.replace(old, source)
