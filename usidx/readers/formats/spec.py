"""Spec files: scans of motors with counters and spectra, as synchrotrons write them.

Each scan is a compound Main of its columns over what was scanned, named as silx names it
("94.1/measurement"); spectra of multichannel analysers are Mains of their own beside it. Spec says
no units of anything.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader, position, spectroscopic
from usidx.readers.formats.edf_headers import number_of
from usidx.readers.formats.spec_scans import SpecScan, scans, spectra, table
from usidx.readers.one_by_one import FrameArray
from usidx.readers.raw import FileIdentity, LoadedArray
from usidx.readers.scans import scan as folded

_PLAIN = {"D": "date", "C": "comment", "T": "count_time", "M": "monitor", "Q": "hkl"}
# What says how many columns there are, and what they and the motors are.
_STRUCTURE = re.compile(r"[LN]|P\d+")


def read(path: str) -> Sequence[Foreign]:
    """The scans in a file; those without any value are left out."""
    return _mains(path, FileIdentity.of(path))


@functools.lru_cache(maxsize=2)
def _mains(path: str, identity: FileIdentity) -> tuple[Foreign, ...]:
    found = []
    for scan in scans(path, identity):
        attrs = _attrs(scan)
        if scan.lines:
            found.append(_measurement(path, identity, scan, attrs))
        found += _analysers(path, identity, scan, attrs)
    return tuple(found)


def _measurement(
    path: str, identity: FileIdentity, scan: SpecScan, attrs: dict[str, Any]
) -> Foreign:
    axes, left_out = _scanned(scan)
    labels = scan.labels
    kept = [label for n, label in enumerate(labels) if n not in left_out]
    dtype = np.dtype([(label, "f8") for label in kept])
    load = functools.partial(_fields, path, identity, tuple(scan.lines), labels, kept)
    array = LoadedArray(load, (len(scan.lines),), dtype, (path, identity, scan.name))
    return folded(
        f"/{scan.name}/measurement",
        array,
        (),
        nav_shape=None,
        positions=axes,
        quantity="Measurement",
        attrs=attrs,
        chunks=tuple(axis.dimension.size for axis in axes),
    )


def _fields(
    path: str,
    identity: FileIdentity,
    lines: Sequence[tuple[int, int]],
    labels: list[str],
    kept: list[str],
) -> Array:
    whole = table(path, identity, lines, labels)
    out = np.empty(whole.shape, [(label, "f8") for label in kept])
    for label in kept:
        out[label] = whole[label]
    return out


def _scanned(scan: SpecScan) -> tuple[list[Axis], tuple[int, ...]]:
    """(axes of positions, numbers of the columns that are their values)"""
    labels, first = scan.labels, np.array(scan.first)
    shapes = _meshes(scan) if scan.n_columns > 2 else []
    for shape, columns in itertools.product(shapes, ((0, 1), (1, 0))):
        fast, slow = (first[:, n].reshape(shape) for n in columns)
        is_grid = (fast == fast[:1]).all() and (slow == slow[:, :1]).all()
        if is_grid and (len(np.unique(slow)), len(np.unique(fast))) == shape:
            names = [labels[n] for n in columns]
            return [position(names[1], "", slow[:, 0]), position(names[0], "", fast[0])], (0, 1)
    if shapes and scan.command.split()[0] in ("mesh", "dmesh"):
        return [position("slow", size=shapes[0][0]), position("fast", size=shapes[0][1])], ()
    if scan.n_columns > 1 and len(np.unique(first[:, 0])) == len(first):
        return [position(labels[0], "", first[:, 0])], (0,)
    return [position("point", size=len(first))], ()


def _meshes(scan: SpecScan) -> list[tuple[int, int]]:
    """(slow, fast) sizes that a mesh may have, of which every point was measured; none for others.

    The first motor of the command is the faster one, but in some programs that are no SPEC.
    """
    words = scan.command.replace("(", " ").replace(",", " ").split()
    if not words or not words[0].endswith("mesh") or len(words) < 9:
        return []
    if not (words[4].isdigit() and words[8].isdigit()):
        return []
    fast, slow = int(words[4]) + 1, int(words[8]) + 1
    return [(slow, fast), (fast, slow)] if slow * fast == len(scan.lines) else []


def _analysers(
    path: str, identity: FileIdentity, scan: SpecScan, attrs: dict[str, Any]
) -> list[Foreign]:
    """The spectra of each analyser of a scan."""
    if not scan.spectra:
        return []
    count, left = divmod(len(scan.spectra), max(1, len(scan.lines)))
    paired = bool(scan.lines) and not left
    count = count if paired else 1
    dtype = np.dtype("f8" if scan.has_fractions else "i8")
    found = []
    for number in range(count):
        places = tuple(scan.spectra[number::count])
        sizes = scan.channels[number::count]
        wrong = next((size for size in sizes if size != sizes[0]), None)
        if wrong is not None:
            raise DamagedStoreError(
                f"a spectrum of scan {scan.name} of {path!r} has {wrong} channels, the "
                f"first of its analyser has {sizes[0]}; it is cut short"
            )
        shape = (len(places), sizes[0])
        values = functools.partial(spectra, path, identity, places, dtype)
        array = FrameArray(values, shape, dtype, (path, identity, scan.name, number))
        axes = _scanned(scan)[0] if paired else [position("spectrum", size=len(places))]
        channels, coordinates = _channels(scan, number, sizes[0])
        main = folded(
            f"/{scan.name}/mca_{number}",
            array,
            (channels,),
            nav_shape=None,
            positions=axes,
            quantity="Intensity",
            units="counts",
            attrs=attrs,
        )
        found.append(dataclasses.replace(main, coordinates=(*main.coordinates, *coordinates)))
    return found


def _channels(scan: SpecScan, number: int, size: int) -> tuple[Axis, tuple[Coordinate, ...]]:
    """The axis of channels, and what its calibration makes of them where there is one."""
    told = _numbers(scan.header.get("@CHANN", []), number)
    values: Array = np.arange(size)
    if len(told) >= 2 and told[0] == size:
        values = told[1] + (told[3] if len(told) > 3 else 1) * values
        values = values.astype(np.int64) if (values % 1 == 0).all() else values
    factors = _numbers(scan.header.get("@CALIB", []), number)
    coordinates: tuple[Coordinate, ...] = ()
    if len(factors) == 3 and factors != [0, 1, 0]:
        calibrated = factors[0] + factors[1] * values + factors[2] * values**2
        coordinates = (Coordinate("calibrated", "", ("channel",), calibrated),)
    return spectroscopic("channel", "", values), coordinates


def _numbers(lines: Sequence[str], number: int) -> list[float]:
    """The numbers in the line of one analyser; in the only one, where all have it in common."""
    if not lines:
        return []
    words = lines[min(number, len(lines) - 1)].split()
    found = [number_of(word) for word in words]
    return [] if any(isinstance(each, str) for each in found) else [float(each) for each in found]


def _attrs(scan: SpecScan) -> dict[str, Any]:
    attrs: dict[str, Any] = {"scan": scan.name, "command": scan.command}
    for key, lines in scan.header.items():
        if not _STRUCTURE.fullmatch(key):
            attrs[_PLAIN.get(key, key)] = "\n".join(lines)
    for key, name in (("F", "file"), ("E", "epoch"), ("D", "file_date"), ("C", "file_comment")):
        if key in scan.file_header:
            attrs[name] = number_of("\n".join(scan.file_header[key]))
    attrs.update({f"motors.{name}": value for name, value in scan.motors.items()})
    return attrs


def _claims(path: str, head: bytes) -> bool:
    if not head.lstrip().startswith((b"#F ", b"#S ", b"#E ")):
        return False
    return re.search(rb"(?m)^#(S \d+|E \d+|[Oo]0 )", head) is not None


READERS = (
    Reader(
        name="spec",
        title="Spec scans (SPEC of Certified Scientific Software)",
        # .txt and .dat, since tables have those too, and less in them says that it is one
        extensions=(".spec", ".dat", ".mca", ".txt"),
        claims=_claims,
        read=read,
    ),
)
