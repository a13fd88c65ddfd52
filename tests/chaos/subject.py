"""The file that is attacked, the work that is interrupted, and what has to be true afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.stores import disk, store_at
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.compression import Compression
from usidx.stores.deleting import delete_group
from usidx.stores.hdf5.transactions import log as logs
from usidx.stores.hdf5.transactions.transaction import recover, transaction
from usidx.stores.hdf5.write import HDF5Claim, claim, reopen
from usidx.stores.hdf5.writing.append import appending
from usidx.stores.hdf5.writing.create import create_file
from usidx.stores.hdf5.writing.new_result import create_group
from usidx.stores.lock import sweep_runs

ROWS, COLUMNS, POINTS, PARAMETERS = 16, 8, 24, 3
CHANNEL = "/Measurement_000/Channel_000"
MAIN = f"{CHANNEL}/Raw_Data"
GROUP = f"{MAIN}-Fit_000"
NEW = f"{CHANNEL}/New"
REFERENCES = (
    "Position_Indices",
    "Position_Values",
    "Spectroscopic_Indices",
    "Spectroscopic_Values",
)


def raw_values(rows: int = ROWS) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The values of the Main, which nothing may change."""
    return np.arange(rows * COLUMNS * POINTS, dtype="f4").reshape(rows * COLUMNS, POINTS) + 0.5


def make_scan(path: str, *, rows: int = ROWS, **options: Any) -> str:
    """An h5USID file written by plain h5py, independent of usidx; `options` are those of File."""
    with h5py.File(path, "w", **options) as file:
        channel = file.create_group(CHANNEL)
        main = channel.create_dataset("Raw_Data", data=raw_values(rows))
        main.attrs["quantity"], main.attrs["units"] = "Current", "nA"
        y, x = np.divmod(np.arange(rows * COLUMNS), COLUMNS)
        points = np.arange(POINTS)[None]
        matrices = {
            "Position_Indices": np.stack([y, x], axis=1).astype("u4"),
            "Position_Values": np.stack([y * 0.5, x * 0.25], axis=1).astype("f4"),
            "Spectroscopic_Indices": points.astype("u4"),
            "Spectroscopic_Values": (points * 0.1).astype("f4"),
        }
        for name, matrix in matrices.items():
            ancillary = channel.create_dataset(name, data=matrix)
            position = name.startswith("Position")
            ancillary.attrs["labels"] = np.array(["Y", "X"] if position else ["Bias"], "S")
            ancillary.attrs["units"] = np.array(["um", "um"] if position else ["V"], "S")
            main.attrs[name] = ancillary.ref
    return path


def fit_request(*, rows: int = ROWS, share: bool = True, tool: str = "Fit") -> ResultRequest:
    """A result of `PARAMETERS` values for each position."""
    y = Dimension("Y", "um", np.arange(rows) * 0.5)
    x = Dimension("X", "um", np.arange(COLUMNS) * 0.25)
    spec = MainSpec(
        path="/Fit",
        quantity="Parameter",
        units="a. u.",
        dtype=np.dtype("f4"),
        position=Grid("position", (y, x)),
        spectroscopic=Grid("spectroscopic", (Dimension("Parameter", "", PARAMETERS),)),
    )
    output = OutputRequest(spec, (1, COLUMNS, PARAMETERS), share_position=MAIN if share else None)
    return ResultRequest(
        parent=CHANNEL,
        main="Raw_Data",
        tool=tool,
        version="1",
        parameters={"start": 1.5, "method": "slow"},
        fingerprint="f" * 64,
        sources=(("", MAIN),),
        outputs=(output,),
    )


def keys(rows: int = ROWS) -> Iterator[tuple[slice, ...]]:
    """Keys of the blocks: one row of the map each."""
    return ((slice(row, row + 1), slice(0, COLUMNS), slice(0, PARAMETERS)) for row in range(rows))


def fit_values(row: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The result of one row of the map, none of it zero."""
    values = np.arange(COLUMNS * PARAMETERS, dtype="f4") + 1 + 1000 * row
    return values.reshape(1, COLUMNS, PARAMETERS)


def fill(held: HDF5Claim) -> None:
    """Write and mark every block that is not done."""
    writer = held.writers["Fit"]
    done = writer.done()
    for key in keys(done.shape[0]):
        if not done[key[0]].all():
            writer.write(key, fit_values(key[0].start))
            writer.mark(key)


def run(
    path: str, *, share: bool = True, durable: bool = False, compression: Compression = None
) -> None:
    """The whole life of a result: claim, write, mark, complete."""
    request = replace(fit_request(rows=_rows(path), share=share), compression=compression)
    with claim(path, request, durable=durable) as held:
        fill(held)
        held.complete()


def go_on(path: str) -> None:
    """What somebody does after an interruption: resume what is there, or begin again."""
    with h5py.File(path, "r") as file:
        status = file[GROUP].attrs["usid_status"] if GROUP in file else "absent"
    if status == "absent":
        run(path)
    elif status == "partial":
        with reopen(path, GROUP) as held:
            fill(held)
            held.complete()


def _rows(path: str) -> int:
    with h5py.File(path, "r") as file:
        return int(file[MAIN].shape[0]) // COLUMNS


def faults(
    path: str, *, rows: int = ROWS, power_failure: bool = False, write: bool = True
) -> list[str]:
    """Everything that is wrong with the file after an interruption; empty when nothing is.

    What may be missing is the end of the work: the group, blocks without a mark, the completion.
    After a power failure, marks are not promised to have their values (unless durable). With
    `write` the work is gone on with, too, and has to get to its end.
    """
    found: list[str] = []
    try:
        recovered = recover(path)
    except Exception as error:
        return [f"recover: {type(error).__name__}: {error}"]
    if recovered == "set aside":
        found.append("the log was not recognised")
    for name in os.listdir(os.path.dirname(path)):
        if name.startswith(os.path.basename(path)) and name.endswith("-log"):
            found.append(f"{name} was left")
    try:
        with h5py.File(path, "r") as file:
            found += _source_faults(file, rows)
            found += _object_faults(file)
            found += _result_faults(file, power_failure)
    except Exception as error:
        found.append(f"open: {type(error).__name__}: {error}")
    if not write:
        return found
    try:
        with transaction(path, timeout=1.0) as file:
            file[CHANNEL].attrs["checked"] = 1
        with h5py.File(path, "r+") as file:
            file[CHANNEL].attrs["checked"] = 2
    except Exception as error:
        found.append(f"write again: {type(error).__name__}: {error}")
    return found or ([] if power_failure else _faults_after_going_on(path, rows))


def run_stock(path: str) -> None:
    """The same with the group made and completed by plain h5py, as nobody should do it."""
    with h5py.File(path, "r+") as file:
        values, marks = create_group(file, fit_request()).outputs["Fit"]
    with disk.opened(path, os.O_RDWR) as descriptor:
        for row in range(ROWS):
            data = fit_values(row).tobytes()
            disk.write_at(descriptor, data, values.offset + row * len(data))
            disk.write_at(descriptor, b"\1" * COLUMNS, marks.offset + row * COLUMNS)
    with h5py.File(path, "r+") as file:
        file[GROUP].attrs["usid_status"] = "complete"


def interrupt(path: str) -> None:
    """Stop a claim when half of its changes are made: the log lies beside the file."""
    real = logs.apply

    def half(log: logs.Log, descriptor: int) -> None:
        real(replace(log, changes=log.changes[: len(log.changes) // 2]), descriptor)
        raise OSError(5, "Input/output error")

    logs.apply = half
    try:
        with contextlib.suppress(DamagedStoreError):
            claim(path, fit_request())
    finally:
        logs.apply = real


def export(path: str) -> None:
    """Replace the file by a new one that holds the result only."""
    spec = replace(fit_request().outputs[0].spec, path=NEW)
    blocks = ((key, fit_values(key[0].start)) for key in keys())
    create_file(path, [(spec, blocks)], groups={CHANNEL: {"note": "new"}}, overwrite=True)


def export_faults(path: str) -> list[str]:
    """What is wrong with a file that was to be replaced: it has to be the old or the new one."""
    try:
        with h5py.File(path, "r") as file:
            if NEW in file:
                expected = np.concatenate([fit_values(row) for row in range(ROWS)])
                found = _object_faults(file)
                if not np.array_equal(file[NEW][()], expected.reshape(-1, PARAMETERS)):
                    found.append("the new file has other values")
                return found
            found = _source_faults(file, ROWS) + _object_faults(file)
        export(path)
        return found or export_faults(path)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def append(path: str, *, checked: bool = True) -> None:
    """Add the result to the file as a Main beside the source."""
    spec = replace(fit_request().outputs[0].spec, path=NEW)
    with appending(path) as new:
        target = new.add_main(spec, block=(1, COLUMNS, PARAMETERS), checked=checked)
        for key in keys():
            target[key] = fit_values(key[0].start)


def append_faults(path: str, before: bytes) -> list[str]:
    """What is wrong with a file that was added to: the Main is there whole, or nothing of it.

    `before` are the bytes of the file before.
    """
    try:
        recover(path)
        with h5py.File(path, "r") as file:
            found = _source_faults(file, ROWS) + _object_faults(file)
            added = NEW in file
            expected = np.concatenate([fit_values(row) for row in range(ROWS)])
            if added and not np.array_equal(file[NEW][()], expected.reshape(-1, PARAMETERS)):
                found.append("the new Main has other values")
        with open(path, "rb") as file:
            if not added and file.read(len(before)) != before:
                found.append("nothing was added, but the file has changed")
        if found or added:
            return found
        append(path)
        return append_faults(path, before)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def delete_faults(path: str) -> list[str]:
    """What is wrong with a file of which a result was being deleted: it is there whole, or gone."""
    try:
        store = store_at(path)
        recover(path)
        with h5py.File(path, "r") as file:
            found = _source_faults(file, ROWS) + _object_faults(file)
            there = GROUP in file
            found += _result_faults(file, False)
            if there and file[GROUP].attrs["usid_status"] != "complete":
                found.append("the result is no longer complete")
        sweep_runs(path)  # as whoever writes next
        name = os.path.basename(path)
        beside = [each for each in os.listdir(os.path.dirname(path)) if each.startswith(name)]
        found += [f"{each} was left" for each in beside if each != name]
        if found or not there:
            return found
        delete_group(store, GROUP)
        return delete_faults(path)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def _faults_after_going_on(path: str, rows: int) -> list[str]:
    try:
        go_on(path)
        with h5py.File(path, "r") as file:
            found = _source_faults(file, rows) + _result_faults(file, False)
            if file[GROUP].attrs["usid_status"] != "complete":
                found.append("resumed, but not complete")
            return found
    except Exception as error:
        return [f"resume: {type(error).__name__}: {error}"]


def _source_faults(file: h5py.File, rows: int) -> list[str]:
    found = []
    main = file[MAIN]
    if not np.array_equal(main[()], raw_values(rows)):
        found.append("the values of the source have changed")
    found += [f"{name} is empty" for name in REFERENCES if not file[main.attrs[name]].size]
    return found


def _object_faults(file: h5py.File) -> list[str]:
    """Objects and attributes that cannot be read."""
    found: list[str] = []

    def look(name: str, obj: h5py.HLObject) -> None:
        try:
            for attribute in obj.attrs:
                obj.attrs[attribute]
            if isinstance(obj, h5py.Dataset):
                obj[()]
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {error}")

    file.visititems(look)
    return found


def _result_faults(file: h5py.File, power_failure: bool) -> list[str]:
    group = file.get(GROUP)
    if group is None:
        return []
    found = [
        f"the group lacks {name}" for name in ("Fit", "completed_positions") if name not in group
    ]
    if found:
        return found
    marks, main = group["completed_positions"][()], group["Fit"]
    if set(np.unique(marks).tolist()) - {0, 1}:
        found.append("marks are neither 0 nor 1")
    expected = np.concatenate([fit_values(row) for row in range(marks.size // COLUMNS)])
    right = (main[()] == expected.reshape(main.shape)).all(axis=1)
    wrong = int(np.count_nonzero((marks == 1) & ~right))
    if wrong and not power_failure:
        found.append(f"{wrong} positions are marked but wrong")
    if group.attrs["usid_status"] == "complete" and not (marks.all() and right.all()):
        found.append("complete, but not all is there")
    if group.attrs["usid_status"] not in ("partial", "complete"):
        found.append(f"status {group.attrs['usid_status']!r}")
    for name in REFERENCES:
        ancillary = file[main.attrs[name]]
        axis = 0 if name.startswith("Position") else 1
        if ancillary.shape[axis] != main.shape[axis] or not ancillary[()].any():
            found.append(f"{name} of the result is not there")
    if file[group.attrs["source_000"]].name != MAIN:
        found.append("the result lost its source")
    return found
