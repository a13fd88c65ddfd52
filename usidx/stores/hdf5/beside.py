"""Coordinates that are datasets beside their Main, which an attribute of it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import h5py

from usidx.stores.base import BlockArray, FurtherCoordinate
from usidx.stores.hdf5.objects.walk import find
from usidx.stores.leaves.further import FURTHER, entry_in, further_from

if TYPE_CHECKING:
    from usidx.stores.hdf5.read import Session


def further_beside(
    session: Session, attrs: Mapping[str, Any], main: str
) -> tuple[FurtherCoordinate, ...]:
    """The coordinates that are there still; whoever moved a Main may have left them behind.

    Parameters
    ----------
    attrs : of the Main
    main : its path

    Raises
    ------
    DamagedStoreError : where the attribute does not describe them
    """
    there = [each for each, dataset in _named(session, attrs, main) if dataset is not None]
    return further_from({FURTHER: there}, main, lambda key: _array(session, main, key))


def paths_beside(session: Session, attrs: Mapping[str, Any], main: str) -> set[str]:
    """Paths of the same."""
    return {
        _path(main, str(each["key"]))
        for each, dataset in _named(session, attrs, main)
        if dataset is not None
    }


def _named(
    session: Session, attrs: Mapping[str, Any], main: str
) -> Iterator[tuple[dict[str, Any], h5py.Dataset | None]]:
    """What the attribute says of each, and its dataset, None where there is none."""
    for each in entry_in(attrs, main)[FURTHER]:
        key = str(each.get("key", "/"))
        found = None if "/" in key else find(session.file, _path(main, key))
        yield each, found if isinstance(found, h5py.Dataset) else None


def _array(session: Session, main: str, key: str) -> BlockArray:
    # which looks at Mains itself
    from usidx.stores.hdf5.inventory import stored_array

    return stored_array(session, find(session.file, _path(main, key)))


def _path(main: str, key: str) -> str:
    return f"{main.rpartition('/')[0]}/{key}"
