"""What the result groups of a file say of themselves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import h5py

from usidx.errors import MainNotFoundError, did_you_mean
from usidx.model.names import natural_key, parse_result
from usidx.model.provenance import load_parameters
from usidx.stores.base import ResultRecord, Status
from usidx.stores.hdf5.completion import Completion, completion, loose_marks
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.walk import (
    Catalog,
    address_at,
    address_of,
    candidates,
    find,
    has_attribute,
)
from usidx.stores.remote.url import is_url

Source = tuple[str, str]

_NAME = re.compile(r"(.+)-[^-]+_[0-9]{3,}")
_TRAILING_NUMBER = re.compile(r"_([0-9]+)$")
_SOURCE = re.compile(r"source_[0-9]{3,}")
# What programs note about themselves in a result group; everything else is a parameter.
_NOTES = frozenset(
    {
        "last_pixel",
        "machine_id",
        "num_source_dsets",
        "platform",
        "Pycroscopy version",
        "pycroscopy_version",
        "pyUSID_version",
        "sidpy_version",
        "source_dataset_path",
        "source_file_path",
        "timestamp",
        "time_stamp",
        "tool",
    }
)


def named_parts(name: str) -> tuple[str, str, int] | None:
    """(main, tool, index) of a name that is exactly `<main>-<tool>_NNN`, else None.

    Examples
    --------
    >>> named_parts("Raw_Data-SHO_Fit_000")
    ('Raw_Data', 'SHO_Fit', 0)
    >>> named_parts("Raw_Data-Fit_old") is None
    True
    """
    matched = _NAME.fullmatch(name)
    parsed = parse_result(name, matched[1]) if matched else None
    return None if matched is None or parsed is None else (matched[1], *parsed)


class Results:
    """The result groups of an open file, each read once.

    Parameters
    ----------
    catalog : of the file
    store : path of the file
    """

    def __init__(self, catalog: Catalog, store: str) -> None:
        self._catalog = catalog
        self._file = catalog.file
        self._store = store
        self._records: dict[str, ResultRecord] = {}
        self._holders: dict[str, str | None] = {}
        self._sources: dict[str, tuple[Source, ...]] = {}

    def holding(self, path: str) -> str | None:
        """Path of the result group that the object at `path` lies in, the innermost, or None."""
        parent = path.rpartition("/")[0]
        if not parent:
            return None
        if parent not in self._holders:
            self._holders[parent] = parent if self.is_result(parent) else self.holding(parent)
        return self._holders[parent]

    def is_result(self, path: str) -> bool:
        """Whether the group at `path` holds results: by its exact name, or its tool and source."""
        if named_parts(_last(path)) is not None:
            return True
        if not has_attribute(self._file, path, [b"tool"]):
            return False
        return has_attribute(self._file, path, [b"source_000", b"source_dataset_path"])

    def of(self, main: str) -> tuple[ResultRecord, ...]:
        """Result groups of the Main at path `main`, wherever they are, oldest first.

        A group is one of them where it refers to the Main, or, if it refers to none in this file,
        where it lies beside it and is named after it.
        """
        main = "/" + main.strip("/")
        target = find(self._file, main)
        real = main if target is None else self._catalog.path_of(target) or main
        groups = [each for each in self._catalog.groups[1:] if self.is_result(each)]
        mine = [each for each in groups if self._belongs(each, real)]
        records = [self.record(each) for each in sorted(mine, key=natural_key)]
        return tuple(sorted(records, key=lambda record: str(record.attrs.get("timestamp", ""))))

    def _belongs(self, group: str, main: str) -> bool:
        here = [path for store, path in self.sources(group) if not store]
        if here:
            return main in here
        parent, _, name = main.rpartition("/")
        return group.rpartition("/")[0] == parent and parse_result(_last(group), name) is not None

    def find(self, path: str) -> str:
        """The whole path of the result group at `path`.

        Raises
        ------
        MainNotFoundError : where there is none
        """
        path = "/" + path.strip("/")
        found = find(self._file, path)
        if isinstance(found, h5py.Group) and self.is_result(path):
            return path
        if found is None:
            beside = find(self._file, path.rpartition("/")[0] or "/")
            names = list(beside) if isinstance(beside, h5py.Group) else []
            near = did_you_mean(_last(path), [each for each in names if named_parts(each)])
            raise MainNotFoundError(f"{self._store!r} has no result group {path!r}{near}")
        raise MainNotFoundError(
            f"{path!r} in {self._store!r} is no result group: its name is not <Main>-<Tool>_000, "
            "and it does not say which tool made it from what"
        )

    def record(self, path: str) -> ResultRecord:
        """Everything that the result group at `path` says of itself and of the Mains in it."""
        if path not in self._records:
            self._records[path] = self._read(path)
        return self._records[path]

    def completion(self, path: str, main: h5py.Dataset) -> Completion:
        """How far one Main of the result group at `path` is."""
        return completion(find(self._file, path), main, self._source_rows(path))

    def sources(self, path: str) -> tuple[Source, ...]:
        """(store, path) of each source of a group; store is "" where it is in this file."""
        if path not in self._sources:
            group = find(self._file, path)
            self._sources[path] = tuple(dict.fromkeys(self._find_sources(group, path)))
        return self._sources[path]

    def _read(self, path: str) -> ResultRecord:
        group = find(self._file, path)
        attrs = attributes.read_all(group, path_of=self._catalog.path_of)
        sources = self.sources(path)
        main, tool, index = named_parts(_last(path)) or _told_parts(_last(path), attrs, sources)
        # those of results of its Mains, which may lie in it, are not its own
        inside = candidates(group, path=path)
        mains = {where: each for where, each in inside if self.holding(where) == path}
        progress = [self.completion(path, each) for each in mains.values()]
        if not progress:
            marked = loose_marks(group)
            progress = [] if marked is None else [marked]
        return ResultRecord(
            store=self._store,
            group=path,
            main=main,
            tool=tool,
            index=index,
            sources=sources,
            mains=tuple(mains),
            status=_status(progress),
            done=sum(each.done for each in progress),
            total=sum(each.total for each in progress),
            parameters=_parameters(attrs),
            version=_told(attrs, "usid_version"),
            fingerprint=_told(attrs, "usid_fingerprint"),
            attrs=attrs,
            failed=sum(each.failed for each in progress),
        )

    def _find_sources(self, group: h5py.Group, path: str) -> Iterator[Source]:
        """Each source: as referred to, as told, else the sibling that is named."""
        listed = _listed_sources(group)
        if listed:
            for number, (store, main) in enumerate(listed):
                yield self._listed(group, path, number, store, main)
            return
        parts = named_parts(_last(path))
        found = 0
        for attribute in sorted(
            filter(_SOURCE.fullmatch, attributes.names(group)), key=natural_key
        ):
            referred = attributes.read_reference(group, attribute)
            if referred.found == "dataset":
                name = parts[0] if parts else attribute
                where = self._catalog.near(referred.target, path, name)
                if where is not None:
                    found += 1
                    yield "", where
        told = attributes.read_text(group, "source_dataset_path").value
        if told:
            found += 1
            file = attributes.read_text(group, "source_file_path").value
            yield _other_store(file, self._store) if file else "", "/" + told.strip("/")
        beside = f"{path.rpartition('/')[0]}/{parts[0]}" if parts else ""
        if not found and parts and isinstance(find(self._file, beside), h5py.Dataset):
            yield "", beside

    def _listed(self, group: h5py.Group, path: str, number: int, store: str, main: str) -> Source:
        """One source of a group that says of each where it is; a reference outlives a new name."""
        if store:
            return _other_store(store, self._store), "/" + main.strip("/")
        main = "/" + main.strip("/")
        referred = attributes.read_reference(group, f"source_{number:03d}")
        if referred.found != "dataset":
            return "", main
        if address_at(self._file, main) == address_of(referred.target):
            return "", main
        return "", self._catalog.near(referred.target, path, _last(main)) or main

    def _source_rows(self, path: str) -> int | None:
        """Positions of the first source, where it is in this file."""
        for store, where in self.sources(path)[:1]:
            source = None if store else find(self._file, where)
            if isinstance(source, h5py.Dataset) and source.ndim == 2:
                return int(source.shape[0])
        return None


def _listed_sources(group: h5py.Group) -> tuple[Source, ...]:
    """(store, path) of every source, as usidx wrote them; () where it did not."""
    try:
        listed = json.loads(attributes.read_text(group, "usid_sources").value or "[]")
        return tuple((str(store), str(main)) for store, main in listed)
    except (ValueError, TypeError):
        return ()  # edited by hand: what refers to them is still there


def _told_parts(
    name: str, attrs: Mapping[str, Any], sources: tuple[Source, ...]
) -> tuple[str, str, int]:
    """(main, tool, index) of a group with a name of its own, from its attributes."""
    number = _TRAILING_NUMBER.search(name)
    main = _last(sources[0][1]) if sources else ""
    return main, str(attrs.get("tool", "")), int(number[1]) if number else 0


def _other_store(told: str, store: str) -> str:
    """Path of another file that a group names: as told, else beside this file after a move."""
    if is_url(told):
        return told
    folder = os.path.dirname(os.path.abspath(store))
    path = os.path.join(folder, told)
    beside = os.path.join(folder, re.split(r"[\\/]", told)[-1])
    if not os.path.exists(path) and os.path.exists(beside):
        return beside
    return os.path.normpath(path)


def _status(progress: list[Completion]) -> Status:
    said = {each.status for each in progress}
    if "partial" in said:
        return "partial"
    return "complete" if said == {"complete"} else "unknown"


def _parameters(attrs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters of the step: exactly, where usidx wrote them, else all attributes but notes."""
    exact = _told(attrs, "usid_parameters")
    if exact is not None:
        try:
            return load_parameters(exact)
        except ValueError:
            pass  # edited by hand, or of a later version: the plain attributes are still there
    return {
        name: value
        for name, value in attrs.items()
        if name not in _NOTES and not _SOURCE.fullmatch(name) and not name.startswith("usid")
    }


def _told(attrs: Mapping[str, Any], name: str) -> str | None:
    value = attrs.get(name)
    return value if isinstance(value, str) else None


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
