"""What is in a netCDF-4 file of Mains; such a file is one of HDF5, by which it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from usidx.errors import DamagedStoreError, MainNotFoundError, UsidError, did_you_mean
from usidx.model.blocks import whole_chunks
from usidx.model.dimension import Array
from usidx.model.names import natural_key, parse_result
from usidx.stores.base import (
    BlockArray,
    Candidate,
    Contents,
    MainEntry,
    ResultRecord,
    StoredDataset,
    StoredGroup,
    StoredMain,
)
from usidx.stores.failures import Failures
from usidx.stores.hdf5 import inventory
from usidx.stores.hdf5.file import open_file
from usidx.stores.hdf5.objects.place import sample
from usidx.stores.hdf5.read import Session, opened
from usidx.stores.leaves.attributes import unpack
from usidx.stores.leaves.further import further_from
from usidx.stores.leaves.leaf import check_version, dims_and_shape, dtype_from, spec_from
from usidx.stores.leaves.records import is_result_name, record_from, shown_status

KEY = "usid"
FAILURES = "failures"
VERSION = 1
_MACHINERY = frozenset({KEY, "Conventions", "_NCProperties", "_nc3_strict"})


def is_netcdf(path: str) -> bool:
    """Whether an HDF5 file is one of netCDF-4 in which usidx has written Mains."""
    with open_file(path) as file:
        return KEY in file.attrs and _entry(file, "/").get("kind") == "root"


def candidates(path: str, allow: tuple[str, ...] = (), ending: str = "") -> tuple[Candidate, ...]:
    """Every Main whose path is `ending` or ends with it."""
    wanted = "/" + ending.strip("/")
    with opened(path, allow) as session:
        found = _paths(session.file)
    return tuple(
        Candidate(each, "result" if is_result_name(_parent(each)) else "raw")
        for each in found
        if wanted == "/" or each.endswith(wanted)
    )


def mains(path: str, allow: tuple[str, ...] = ()) -> tuple[MainEntry, ...]:
    """Every Main, in the order in which they were written."""
    with opened(path, allow) as session:
        return tuple(_main_entry(session.file, each) for each in _paths(session.file))


def open_main(path: str, main: str, allow: tuple[str, ...] = ()) -> StoredMain:
    """The Main at `main`: its metadata and coordinates are read, none of its values.

    Raises
    ------
    MainNotFoundError : where there is none at that path
    DamagedStoreError : where its metadata or variables are missing or do not fit
    """
    main = "/" + main.strip("/")
    with opened(path, allow) as session:
        file = session.file
        group = file.get(main)
        if not isinstance(group, h5py.Group) or _entry(file, main).get("kind") != "main":
            known = _paths(file)
            raise MainNotFoundError(
                f"{path!r} has no Main {main!r}{did_you_mean(main, known)}; it has "
                f"{', '.join(known) or 'none'}"
            )
        entry = _entry(file, main)
        check_version(entry, main)
        try:
            spec = spec_from(main, entry, {}, lambda key: _column(group, key))
            keys = [str(each["key"]) for each in entry["fields"]]
            stored = [inventory.stored_array(session, group[key]) for key in keys]
            chunks = group[keys[0]].chunks
            samples = [sample(group[key]) for key in keys]
            further = further_from(
                entry, main, lambda key: inventory.stored_array(session, group[key])
            )
        except KeyError as error:
            raise DamagedStoreError(
                f"{main!r} of {path!r} lacks a variable that it says it has ({error}); restore the "
                "file from a copy"
            ) from error
        array = JoinedArray(tuple(stored), spec.dtype)
        if array.shape != spec.shape:
            raise DamagedStoreError(
                f"{main!r} in {path!r} has values of shape {array.shape}, its coordinates need "
                f"{spec.shape} ({', '.join(spec.dims)}); restore the file from a copy"
            )
        marks = entry.get("marks")
        completed = inventory.stored_array(session, group[str(marks)]) if marks else None
        failures = _failures(session, group, entry)
        result = _record(file, path, _parent(main)) if is_result_name(_parent(main)) else None
    digest = hashlib.sha256(json.dumps(entry, sort_keys=True).encode())
    for each in samples:
        digest.update(each)
    return StoredMain(
        store=path,
        spec=spec,
        array=array,
        chunks=whole_chunks(spec.shape, chunks or (1,) * len(spec.shape), spec.dtype.itemsize),
        identity=digest.hexdigest(),
        completed=None if completed is None else JoinedArray((completed,), np.dtype(bool)),
        result=result,
        allow_external=allow,
        failures=failures,
        further=further,
    )


def contents(path: str, allow: tuple[str, ...] = ()) -> Contents:
    """Every group and Main of the file."""
    found, refused = [], {}
    with opened(path, allow) as session:
        file = session.file
        paths = _paths(file)
        others = _other_paths(file)
        groups = [
            StoredGroup(
                where,
                _group_attrs(file, where),
                tuple(_other(session, each) for each in others if _parent(each) == where),
            )
            for where in _groups_above(paths, others)
        ]
    for each in paths:
        try:
            found.append(open_main(path, each, allow))
        except UsidError as error:
            refused[each] = error
    return Contents(tuple(groups), tuple(found), refused)


def dataset(path: str, name: str, allow: tuple[str, ...] = ()) -> StoredDataset:
    """The variable at `name`, or the values of the Main there."""
    with opened(path, allow) as session:
        if "/" + name.strip("/") in _other_paths(session.file):
            return _other(session, "/" + name.strip("/"))
        is_main = "/" + name.strip("/") in _paths(session.file)
    if not is_main:
        return inventory.dataset(path, name, allow)
    main = open_main(path, name, allow)
    spec = main.spec
    return StoredDataset(spec.path, main.array, spec.attrs, spec.dims, chunks=main.chunks)


def attrs(path: str, name: str, allow: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Attributes of the group, Main or variable at `name`."""
    name = "/" + name.strip("/")
    with opened(path, allow) as session:
        found = session.file.get(name)
        if isinstance(found, h5py.Group) or name in _other_paths(session.file):
            return _group_attrs(session.file, name)
    return inventory.attrs(path, name, allow)


def results(path: str, main: str, allow: tuple[str, ...] = ()) -> tuple[ResultRecord, ...]:
    """Result groups of the Main at `main`, beside it, oldest first."""
    parent, _, name = ("/" + main.strip("/")).rpartition("/")
    with opened(path, allow) as session:
        group = session.file.get(parent or "/")
        names = [] if group is None else sorted(group, key=natural_key)
        found = [f"{parent}/{each}" for each in names if parse_result(each, name) is not None]
        records = [_record(session.file, path, each) for each in found]
    return tuple(sorted(records, key=lambda record: str(record.attrs.get("timestamp", ""))))


def result(path: str, group: str, allow: tuple[str, ...] = ()) -> ResultRecord:
    """The result group at `group`.

    Raises
    ------
    MainNotFoundError : where there is no group of that name
    """
    group = "/" + group.strip("/")
    with opened(path, allow) as session:
        if not isinstance(session.file.get(group), h5py.Group) or not is_result_name(group):
            raise MainNotFoundError(f"{path!r} has no result group {group!r}")
        return _record(session.file, path, group)


def result_of(path: str, main: str, allow: tuple[str, ...] = ()) -> ResultRecord | None:
    """The result group that the Main at `main` lies in; None for raw data."""
    parent = _parent("/" + main.strip("/"))
    return result(path, parent, allow) if is_result_name(parent) else None


@dataclass(frozen=True, eq=False)
class JoinedArray:
    """The variables of a Main as one array, structured where there are several.

    Parameters
    ----------
    parts : one for each field, all of one shape
    dtype : of the whole; booleans are stored as bytes
    """

    parts: tuple[BlockArray, ...]
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parts[0].shape

    @property
    def ndim(self) -> int:
        return self.parts[0].ndim

    def __getitem__(self, key: Any, /) -> Array:
        if self.dtype.names is None:
            return np.asarray(self.parts[0][key]).astype(self.dtype, copy=False)
        blocks = [np.asarray(part[key]) for part in self.parts]
        joined = np.empty(blocks[0].shape, self.dtype)
        for name, block in zip(self.dtype.names, blocks, strict=True):
            joined[name] = block
        return joined

    def only(self, field: str) -> JoinedArray:
        """One field, read without the others."""
        assert self.dtype.names is not None
        return JoinedArray((self.parts[self.dtype.names.index(field)],), self.dtype[field])

    def __dask_tokenize__(self) -> Any:
        tokens = [part.__dask_tokenize__() for part in self.parts]
        return "usidx.netcdf", self.dtype.str, tokens


def _entry(file: h5py.File, path: str) -> dict[str, Any]:
    """What the attribute "usid" of a group says, {} where it has none."""
    said = file[path].attrs.get(KEY)
    if said is None:
        return {}
    try:
        entry = json.loads(said if isinstance(said, (str, bytes)) else str(said))
    except ValueError as error:
        raise DamagedStoreError(
            f"the attribute 'usid' of {path!r} in {file.filename!r} cannot be read ({error}); "
            "restore the file from a copy"
        ) from error
    return entry if isinstance(entry, dict) else {}


def _paths(file: h5py.File) -> list[str]:
    """Paths of the Mains that are there still."""
    said = _entry(file, "/").get("mains", [])
    return [str(each) for each in said if isinstance(file.get(str(each)), h5py.Group)]


def _other_paths(file: h5py.File) -> list[str]:
    """Paths of the datasets that are no Mains and are there still."""
    return [str(each) for each in _entry(file, "/").get("datasets", []) if str(each) in file]


def _other(session: Session, path: str) -> StoredDataset:
    """A dataset that is no Main, in the type that it had."""
    file = session.file
    entry = _entry(file, path)
    kinds = [object if each["dtype"] == "text" else each["dtype"] for each in entry["fields"]]
    place = f"{path}/" if entry["compound"] else f"{_parent(path).rstrip('/')}/"
    parts = [file[place + str(each["key"])] for each in entry["fields"]]
    dtype = np.dtype(kinds[0])
    if entry["compound"]:
        names = [str(each["name"]) for each in entry["fields"]]
        dtype = np.dtype(list(zip(names, kinds, strict=True)))
    name = path.rpartition("/")[2]
    labels = [str(each).removeprefix(f"{name}_") for each in entry["dims"]]
    return StoredDataset(
        path,
        JoinedArray(tuple(inventory.stored_array(session, each) for each in parts), dtype),
        _group_attrs(file, path),
        tuple("" if label == str(axis) else label for axis, label in enumerate(labels)),
        chunks=parts[0].chunks,
    )


def _groups_above(mains: list[str], others: list[str]) -> Iterator[str]:
    seen: dict[str, None] = {"/": None}
    for path in (*mains, *others):
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            seen["/" + "/".join(parts[:depth])] = None
    yield from (each for each in seen if each not in mains)


def _group_attrs(file: h5py.File, path: str) -> Mapping[str, Any]:
    return unpack({}, _entry(file, path).get("attrs", {}))


def _column(group: h5py.Group, key: str) -> Array:
    values = group[key]
    if h5py.check_string_dtype(values.dtype):
        return np.asarray(values.asstr()[...]).astype(np.dtypes.StringDType())
    return np.asarray(values[...])


def _main_entry(file: h5py.File, path: str) -> MainEntry:
    entry = _entry(file, path)
    check_version(entry, path)
    dims, shape = dims_and_shape(entry)
    of_result = is_result_name(_parent(path))
    status = "complete"
    if of_result:
        record = _record(file, file.filename, _parent(path))
        status = shown_status(record.status, *_counts(file, path))
    return MainEntry(
        path=path,
        dims=dims,
        shape=shape,
        quantity=str(entry["quantity"]),
        units=str(entry["units"]),
        dtype=dtype_from(entry),
        kind="result" if of_result else "raw",
        status=status,
    )


def _failures(session: Session, group: h5py.Group, entry: Mapping[str, Any]) -> Failures | None:
    """Where the step failed, of the Main in a group; None where it did nowhere."""
    told = entry.get(FAILURES)
    if not isinstance(told, dict) or str(told.get("numbers")) not in group:
        return None
    numbers = group[str(told["numbers"])]
    count = int(np.count_nonzero(numbers[...]))
    stored = JoinedArray((inventory.stored_array(session, numbers),), np.dtype(np.uint8))
    return Failures(count, stored, tuple(map(str, told.get("reasons", ())))) if count else None


def _counts(file: h5py.File, path: str) -> tuple[int, int, int]:
    """(positions that are computed, all, those at which the step failed) of a Main."""
    entry = _entry(file, path)
    side = entry["position"]
    n_position = 1 if side["kind"] == "points" else len(side["dimensions"])
    total = int(np.prod(dims_and_shape(entry)[1][:n_position], dtype=np.int64))
    marks = entry.get("marks")
    told = entry.get(FAILURES, {}).get("numbers")
    failed = int(np.count_nonzero(file[path][str(told)][...])) if told else 0
    return (int(np.count_nonzero(file[path][str(marks)][...])) if marks else total), total, failed


def _record(file: h5py.File, store: str, group: str) -> ResultRecord:
    inside = [each for each in _paths(file) if _parent(each) == group]
    counts = [_counts(file, each) for each in inside]
    return record_from(
        store,
        group,
        _group_attrs(file, group),
        mains=tuple(inside),
        done=sum(done for done, _, _ in counts),
        total=sum(total for _, total, _ in counts),
        failed=sum(failed for _, _, failed in counts),
    )


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
