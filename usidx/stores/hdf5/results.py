"""What a result group says of itself."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import h5py

from usidx.errors import MainNotFoundError, did_you_mean
from usidx.model.names import natural_key, parse_result
from usidx.model.provenance import load_parameters
from usidx.stores.base import ResultRecord, Status
from usidx.stores.hdf5 import attributes
from usidx.stores.hdf5.completion import Completion, completion, loose_marks
from usidx.stores.hdf5.walk import candidates

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


def is_result(group: h5py.Group) -> bool:
    """Whether a group holds results: by its exact name, or by its tool and source."""
    if named_parts(_last(str(group.name))) is not None:
        return True
    has = [
        h5py.h5a.exists(group.id, name) for name in (b"tool", b"source_000", b"source_dataset_path")
    ]
    return has[0] and any(has[1:])


def group_of(file: h5py.File, path: str) -> h5py.Group | None:
    """The result group that the object at `path` lies in, the innermost; None for raw data."""
    parent = path.rpartition("/")[0]
    while parent:
        group = file.get(parent)
        if isinstance(group, h5py.Group) and is_result(group):
            return group
        parent = parent.rpartition("/")[0]
    return None


def read_results(file: h5py.File, store: str, main: str) -> tuple[ResultRecord, ...]:
    """Result groups of the Main at path `main`, beside it, oldest first."""
    parent, _, name = ("/" + main.strip("/")).rpartition("/")
    beside = file.get(parent or "/")
    if not isinstance(beside, h5py.Group):
        return ()
    found = [each for each in beside if parse_result(each, name) is not None]
    groups = [beside.get(each) for each in sorted(found, key=natural_key)]
    records = [read_record(each, store) for each in groups if isinstance(each, h5py.Group)]
    return tuple(sorted(records, key=lambda record: str(record.attrs.get("timestamp", ""))))


def find_result(file: h5py.File, store: str, path: str) -> h5py.Group:
    """The result group at `path`.

    Raises
    ------
    MainNotFoundError : where there is none
    """
    group = file.get("/" + path.strip("/"))
    if isinstance(group, h5py.Group) and is_result(group):
        return group
    if group is None:
        parent = file.get(path.rstrip("/").rpartition("/")[0] or "/")
        beside = parent if isinstance(parent, h5py.Group) else file
        near = did_you_mean(_last(path), [each for each in beside if named_parts(each)])
        raise MainNotFoundError(f"{store!r} has no result group {path!r}{near}")
    raise MainNotFoundError(
        f"{path!r} in {store!r} is no result group: its name is not <Main>-<Tool>_000, and it does "
        "not say which tool made it from what"
    )


def read_record(group: h5py.Group, store: str) -> ResultRecord:
    """Everything that a result group says of itself and of the Mains in it."""
    name = _last(str(group.name))
    attrs = attributes.read_all(group)
    main, tool, index = named_parts(name) or _told_parts(group, name, attrs)
    n_source = _source_rows(group, main)
    mains = dict(candidates(group))
    progress = [completion(group, each, n_source) for each in mains.values()]
    if not progress:
        marked = loose_marks(group)
        progress = [] if marked is None else [marked]
    return ResultRecord(
        store=store,
        group=str(group.name),
        main=main,
        tool=tool,
        index=index,
        sources=_sources(group, store, main),
        mains=tuple(mains),
        status=_status(progress),
        done=sum(each.done for each in progress),
        total=sum(each.total for each in progress),
        parameters=_parameters(attrs),
        version=_told(attrs, "usid_version"),
        fingerprint=_told(attrs, "usid_fingerprint"),
        attrs=attrs,
    )


def completion_of(group: h5py.Group, main: h5py.Dataset) -> Completion:
    """How far one Main of a result group is."""
    parts = named_parts(_last(str(group.name)))
    return completion(group, main, _source_rows(group, parts[0] if parts else ""))


def _told_parts(group: h5py.Group, name: str, attrs: Mapping[str, Any]) -> tuple[str, str, int]:
    """(main, tool, index) of a group with a name of its own, from its attributes."""
    sources = _sources(group, "", "")
    number = _TRAILING_NUMBER.search(name)
    return (
        _last(sources[0][1]) if sources else "",
        str(attrs.get("tool", "")),
        int(number[1]) if number else 0,
    )


def _sources(group: h5py.Group, store: str, main: str) -> tuple[tuple[str, str], ...]:
    """(store, path) of each source: as referred to, as told, else the sibling that is named."""
    found = []
    for attribute in sorted(filter(_SOURCE.fullmatch, attributes.names(group)), key=natural_key):
        referred = attributes.read_reference(group, attribute)
        source = referred.target if referred.found == "dataset" else None
        named = None if source is None else attributes.path_of(source, group, main)
        if named is not None:
            found.append(("", named))
    path = attributes.read_text(group, "source_dataset_path").value
    if path:
        elsewhere = attributes.read_text(group, "source_file_path").value
        found.append((_other_store(elsewhere, store) if elsewhere else "", "/" + path.strip("/")))
    beside = f"{str(group.name).rpartition('/')[0]}/{main}"
    if not found and main and isinstance(group.file.get(beside), h5py.Dataset):
        found.append(("", beside))
    return tuple(dict.fromkeys(found))


def _other_store(told: str, store: str) -> str:
    """Path of another file that a group names: as told, else beside this file after a move."""
    folder = os.path.dirname(os.path.abspath(store))
    path = os.path.join(folder, told)
    beside = os.path.join(folder, re.split(r"[\\/]", told)[-1])
    if not os.path.exists(path) and os.path.exists(beside):
        return beside
    return os.path.normpath(path)


def _source_rows(group: h5py.Group, main: str) -> int | None:
    """Positions of the source, where it is in this file."""
    for store, path in _sources(group, "", main):
        source = group.file.get(path) if not store else None
        if isinstance(source, h5py.Dataset) and source.ndim == 2:
            return int(source.shape[0])
    return None


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
