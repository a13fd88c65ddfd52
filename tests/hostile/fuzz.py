"""Flip bits of real files and cut them short, and see what becomes of opening and checking them.

Each case is looked at in a process of its own, once by opening every Main and reading all of it,
and once by `usidx.validate`. HDF5 itself may crash or hang on bytes that make no sense. Where a
file is opened in the process of the user little can be done about that, so it is counted apart.
"""

from __future__ import annotations

import collections
import faulthandler
import hashlib
import os
import pathlib
import random
import resource
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h5py
import numpy as np

import usidx
from usidx.errors import UsidError
from usidx.exporting.h5usid import to_h5usid

SECONDS = 10
MEMORY = 4 * 2**30
# Of the samples, those that differ in how HDF5 keeps them: groups, chunks, strings, references.
SAMPLES = (
    "pyusid/01_4d_default_fast_to_slow.h5",
    "pyusid/02_4d_slow_to_fast.h5",
    "pyusid/07_compound_sho_V20.h5",
    "pyusid/15_not_quite_main_h5py.h5",
    "pyusid/16_labels_vlen_h5py.h5",
    "pyusid/20_process_results.h5",
    "pyusid/26_libver_latest_userblock.h5",
    "pyusid/28_beps_small_like_h5py.h5",
    "real/AFM_Force_Curve__50bec706.h5",
    "real/sparse_sampling__8e91f113.h5",
)
# What counts as a failure of usidx, whatever the file is.
BAD = ("traceback", "nothing told")

Contents = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Subject:
    """A file that is to be damaged.

    Parameters
    ----------
    name : of the file
    data : its bytes
    truth : digests of the values and of the texts of each Main
    places : array of int64, the bytes that may be flipped: all of them where there are checksums,
        else those that are no values
    checked : whether its values have checksums
    """

    name: str
    data: bytes
    truth: Contents
    places: np.ndarray
    checked: bool


# what is damaged, how, and the bytes that come of it
Case = tuple[Subject, str, bytes]


@dataclass
class Tally:
    """How often each outcome was seen, and a case of each.

    Parameters
    ----------
    opened, validated : number of cases by outcome; for files with checksums apart
    bad : what must never be: (subject, what was done to it, outcome)
    """

    opened: collections.Counter[str] = field(default_factory=collections.Counter)
    opened_checked: collections.Counter[str] = field(default_factory=collections.Counter)
    validated: collections.Counter[str] = field(default_factory=collections.Counter)
    bad: list[tuple[str, str, str]] = field(default_factory=list)


def made_subjects(folder: pathlib.Path) -> list[Subject]:
    """Exports with checksums, and one file without any, made here."""
    first = usidx.testing.make_main()
    plain, packed = folder / "plain.h5", folder / "packed.h5"
    to_h5usid(first, folder / "checked.h5")
    to_h5usid(first, packed, compression="gzip")
    to_h5usid(first, plain, checksums=False)
    return [
        subject(folder / "checked.h5", checked=True),
        subject(packed, checked=True),
        subject(plain),
    ]


def sample_subjects(folder: pathlib.Path) -> list[Subject]:
    """Those of the samples in `folder` that are there."""
    return [subject(folder / name) for name in SAMPLES if (folder / name).is_file()]


def subject(path: pathlib.Path, *, checked: bool = False) -> Subject:
    """The file at `path` as a subject."""
    data = path.read_bytes()
    may = np.ones(len(data), bool)
    if not checked:
        for start, stop in _value_spans(path):
            may[start:stop] = False
    return Subject(path.name, data, contents(str(path)), np.flatnonzero(may), checked)


def _value_spans(path: pathlib.Path) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []

    def look(_: str, obj: Any) -> None:
        if not isinstance(obj, h5py.Dataset):
            return
        if obj.chunks is None:
            start = obj.id.get_offset()
            if start is not None:
                found.append((start, start + obj.id.get_storage_size()))
            return
        for number in range(obj.id.get_num_chunks()):
            chunk = obj.id.get_chunk_info(number)
            found.append((chunk.byte_offset, chunk.byte_offset + chunk.size))

    with h5py.File(path) as file:
        file.visititems(look)
    return found


def contents(path: str) -> Contents:
    """Digests of values and coordinates, and of texts, of every Main; all of it is read."""
    found = {}
    for entry in usidx.list_mains(path):
        main = usidx.open(path, entry.path, chunks=None)
        parts = list(main.data_vars.values()) if hasattr(main, "data_vars") else [main]
        values, texts = hashlib.sha256(), hashlib.sha256()
        for part in parts:
            values.update(repr((part.name, part.dims, part.shape, str(part.dtype))).encode())
            values.update(np.ascontiguousarray(part.values).tobytes())
            texts.update(repr(sorted(map(str, part.attrs.items()))).encode("utf-8", "replace"))
        for name, coordinate in sorted(main.coords.items(), key=str):
            values.update(repr((name, coordinate.dims)).encode("utf-8", "replace"))
            values.update(np.ascontiguousarray(coordinate.values).tobytes())
            texts.update(repr(coordinate.attrs).encode("utf-8", "replace"))
        found[entry.path] = (values.hexdigest(), texts.hexdigest())
    return found


def flips(subjects: Sequence[Subject], count: int, seed: int) -> Iterator[Case]:
    """(subject, what was done, bytes) of `count` files in which one bit is flipped, or four."""
    chance = random.Random(seed)
    for number in range(count):
        chosen = _choose(subjects, number)
        data = bytearray(chosen.data)
        places = [chance.choice(chosen.places) for _ in range(chance.choice((1, 1, 1, 4)))]
        for place in places:
            data[place] ^= 1 << chance.randrange(8)
        yield chosen, f"flips at {', '.join(map(str, places))}", bytes(data)


def cuts(subjects: Sequence[Subject], count: int, seed: int) -> Iterator[Case]:
    """(subject, what was done, bytes) of `count` files that were cut short."""
    chance = random.Random(seed + 1)
    for number in range(count):
        chosen = _choose(subjects, number)
        length = chance.randrange(len(chosen.data))
        yield chosen, f"cut to {length}", chosen.data[:length]


def _choose(subjects: Sequence[Subject], number: int) -> Subject:
    """One after the other, and every second time one with checksums."""
    kind = [each for each in subjects if each.checked == bool(number % 2)]
    return kind[number // 2 % len(kind)]


def attack(cases: Iterator[Case], folder: str, keep: str | None = None) -> Tally:
    """What becomes of each case; those that end badly are kept in the folder `keep`."""
    tally = Tally()
    path = os.path.join(folder, "case.h5")
    for number, (chosen, done, data) in enumerate(cases):
        pathlib.Path(path).write_bytes(data)
        outcome = in_child(partial(_open, path, chosen))
        (tally.opened_checked if chosen.checked else tally.opened)[outcome] += 1
        wrong = outcome == "other values" and chosen.checked
        checked = in_child(partial(_validate, path))
        if checked.startswith(("crash", "hang")):
            # so the process of its own really is needed: it must make an error of this
            report = usidx.validate(path, values=True, limit=SECONDS)
            checked = "an error, for a crash or a hang" if not report.ok else "nothing told"
        elif checked == "no error" and (outcome == "refused" or wrong):
            checked = "nothing told"
        tally.validated[checked] += 1
        for told in (outcome, checked):
            if told.startswith(BAD) or (wrong and told == outcome):
                tally.bad.append((chosen.name, done, told))
        ended = any(told.startswith(("crash", "hang", *BAD)) for told in (outcome, checked))
        if keep is not None and (ended or wrong):
            pathlib.Path(keep, f"{outcome[:5]}_{number}_{chosen.name}").write_bytes(data)
    return tally


def _open(path: str, chosen: Subject) -> str:
    try:
        found = contents(path)
    except UsidError:
        return "refused"
    for main, (values, texts) in chosen.truth.items():
        if main not in found or found[main][0] != values:
            return "other values"
        if found[main][1] != texts:
            return "other texts"
    return "right"


def _validate(path: str) -> str:
    return "no error" if usidx.validate(path, values=True, limit=None).ok else "an error"


def in_child(run: Callable[[], str]) -> str:
    """What `run` returns in a process of its own; or how that came to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(run, reading, writing)
    os.close(writing)
    said = b""
    while part := os.read(reading, 4096):
        said += part
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return "hang" if name == "SIGALRM" else f"crash ({name})"
    return said.decode("utf-8", "replace") or f"crash (exit status {os.WEXITSTATUS(status)})"


def _in_child(run: Callable[[], str], reading: int, writing: int) -> None:
    status = 1
    try:
        os.close(reading)
        faulthandler.disable()  # its words belong to the parent
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        warnings.simplefilter("ignore")
        try:
            said = run()
        except BaseException as error:
            said = f"traceback {type(error).__name__}: {error}"[:300]
        os.write(writing, said.encode("utf-8", "replace"))
        status = 0
    finally:
        os._exit(status)


def run(
    *, n_flips: int, n_cuts: int, seed: int, samples: pathlib.Path | None, keep: str | None
) -> Iterator[tuple[str, Tally, float]]:
    """(what was done, what became of it, seconds) of flips and of cuts."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        subjects = made_subjects(pathlib.Path(folder))
        if samples is not None:
            subjects += sample_subjects(samples)
        for name, cases in (
            ("flips", flips(subjects, n_flips, seed)),
            ("cuts", cuts(subjects, n_cuts, seed)),
        ):
            start = time.monotonic()
            yield name, attack(cases, folder, keep), time.monotonic() - start
