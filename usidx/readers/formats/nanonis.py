"""Nanonis files of scanning probes: .sxm images, .3ds grids of spectra, .dat single spectra."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Foreign, Reader, position, spectroscopic
from usidx.readers.raw import FileIdentity, LoadedArray, RawArray
from usidx.readers.scans import SyncedArray

_END_OF_IMAGE_HEADER = b":SCANIT_END:"
_END_OF_GRID_HEADER = b":HEADER_END:\r\n"
_LONGEST_HEADER = 2**20
_FLOAT = np.dtype(">f4")


def read_image(path: str) -> Sequence[Foreign]:
    """The channels of a .sxm image, there and back.

    Rows and columns are as in the file, and the coordinates say where they are: of a scan downwards
    the first row is the highest, of the way back the first column is the rightmost.
    """
    head, start = _header(path, _END_OF_IMAGE_HEADER)
    told = _sections(head)
    mark = head_end(path, start)
    try:
        nx, ny = (int(each) for each in told["SCAN_PIXELS"].split()[:2])
        width, height = (float(each) for each in told["SCAN_RANGE"].split()[:2])
        x0, y0 = (float(each) for each in told.get("SCAN_OFFSET", "0 0").split()[:2])
        channels = _channels(told["DATA_INFO"])
    except (KeyError, ValueError) as error:
        raise DamagedStoreError(
            f"the header of {path!r} does not say what the image is ({error!r})"
        ) from error
    kind = told.get("SCANIT_TYPE", "FLOAT MSBFIRST").split()
    if kind[:1] != ["FLOAT"] or kind[1:] not in ([], ["MSBFIRST"], ["LSBFIRST"]):
        raise NotUsidError(f"{path!r} has values of type {told['SCANIT_TYPE']!r}, read is FLOAT")
    dtype = _FLOAT.newbyteorder("<" if "LSBFIRST" in kind else ">")
    x = x0 + np.linspace(-width / 2, width / 2, nx)
    y = y0 + np.linspace(-height / 2, height / 2, ny)
    down = told.get("SCAN_DIR", "up").strip().lower() == "down"
    attrs = {name: value for name, value in told.items() if name != "DATA_INFO"}
    found: list[Foreign] = []
    for name, units, ways in channels:
        for way in ways:
            place = mark + len(found) * nx * ny * _FLOAT.itemsize
            axes = (
                position("Y", "m", y[::-1] if down else y),
                position("X", "m", x[::-1] if way == "backward" else x),
            )
            array = RawArray(path, (ny, nx), dtype, place)
            main = f"{name}_{way}" if len(ways) > 1 else name
            found.append(Foreign(main, array, axes, name, units, attrs))
    return found


def head_end(path: str, start: int) -> int:
    """Where the values of a .sxm file begin: behind two marks that end its header."""
    with open(path, "rb") as file:
        file.seek(start)
        after = file.read(16)
    at = after.find(b"\x1a\x04")
    if at < 0:
        raise DamagedStoreError(f"{path!r} is cut short: its header has no end")
    return start + at + 2


def _channels(table: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """(name, units, ways) of each channel."""
    # names that people gave may have blanks
    tab = "\t" if "\t" in table else None
    rows = [
        [cell.strip() for cell in line.strip("\r\n").removeprefix("\t").split(tab)]
        for line in table.splitlines()
        if line.strip()
    ]
    heads = [each.lower() for each in rows[0]]
    name, unit, way = (heads.index(each) for each in ("name", "unit", "direction"))
    return [
        (
            row[name].replace("/", "_"),
            row[unit],
            ("forward", "backward") if row[way].lower() == "both" else (row[way].lower(),),
        )
        for row in rows[1:]
    ]


def _sections(head: str) -> dict[str, str]:
    """{NAME: text} of a header whose names stand between colons."""
    parts = re.split(r"^:([^:\n]+):\s*$", head, flags=re.MULTILINE)
    return {name.strip(): text.strip(" \r\n") for name, text in zip(parts[1::2], parts[2::2])}


def read_grid(path: str) -> Sequence[Foreign]:
    """The channels of a .3ds grid of spectra; of a grid that was stopped what is missing is NaN."""
    head, start = _header(path, _END_OF_GRID_HEADER)
    pairs = [line.partition("=") for line in head.splitlines() if "=" in line]
    told = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
    try:
        nx, ny = (int(each) for each in re.findall(r"\d+", told["Grid dim"])[:2])
        points = int(told["Points"])
        channels = told["Channels"].split(";")
        count = int(told["# Parameters (4 byte)"])
        middle_x, middle_y, width, height, angle = (
            float(each) for each in told["Grid settings"].split(";")[:5]
        )
    except (KeyError, ValueError) as error:
        raise DamagedStoreError(
            f"the header of {path!r} does not say what the grid is ({error!r})"
        ) from error
    each = (count + points * len(channels)) * _FLOAT.itemsize
    said = told.get("Experiment size (bytes)", str(points * len(channels) * _FLOAT.itemsize))
    if not said.isdigit() or int(said) != points * len(channels) * _FLOAT.itemsize:
        raise NotUsidError(
            f"{path!r} has {said} bytes of spectra at each position by its header, and {points} "
            f"points of {len(channels)} channels are "
            f"{points * len(channels) * _FLOAT.itemsize}; it is laid out in a way that is not known"
        )
    whole = (os.path.getsize(path) - start) // each
    if whole < 1:
        raise DamagedStoreError(f"{path!r} ends before its first spectrum")
    whole = min(whole, nx * ny)
    sweep, units = _told(told.get("Sweep Signal", "Index"))
    parameters = RawArray(path, (whole, count), _FLOAT, start, (each, _FLOAT.itemsize))[:]
    values = _sweep(told, parameters, points)
    swept = spectroscopic("point", size=points)
    if values is not None:
        swept = spectroscopic(sweep, units, values, quantity=sweep)
    axes = (
        position("Y", "m", middle_y + np.linspace(-height / 2, height / 2, ny)),
        position("X", "m", middle_x + np.linspace(-width / 2, width / 2, nx)),
        swept,
    )
    coordinates = _at_each(told, parameters, ny, nx, angle, values is None)
    attrs = {name: value for name, value in told.items() if len(value) < 1000}
    attrs["angle"] = str(angle)
    found = []
    for number, channel in enumerate(_numbered(channels)):
        place = start + (count + number * points) * _FLOAT.itemsize
        spectra = RawArray(path, (whole, points), _FLOAT, place, (each, _FLOAT.itemsize))
        array = SyncedArray(spectra, (ny, nx), 0, np.nan, spectra.dtype)
        name, of = _told(channel)
        found.append(
            Foreign(name.replace("/", "_"), array, axes, name, of, attrs, coordinates=coordinates)
        )
    return found


def _parameters(told: Mapping[str, str]) -> list[str]:
    """Names of what stands before the spectra at each position."""
    names = told.get("Fixed parameters", "").split(";")
    names += told.get("Experiment parameters", "").split(";")
    return [each for each in names if each]


def _sweep(told: Mapping[str, str], parameters: Array, points: int) -> Array | None:
    """Values of the sweep; None where nothing says them.

    Its start and end are the first two parameters, unless these have other names. Of a sweep in
    segments, or one that differs from position to position, they do not say where points lie.
    """
    names = [_told(each)[0] for each in _parameters(told)] or ["Sweep Start", "Sweep End"]
    if names[:2] != ["Sweep Start", "Sweep End"] or parameters.shape[1] < 2:
        return None
    if any("segment start" in each.lower() for pair in told.items() for each in pair):
        return None
    if not np.all(parameters[:, :2] == parameters[0, :2]):
        return None
    return np.linspace(float(parameters[0, 0]), float(parameters[0, 1]), points)


def _at_each(
    told: Mapping[str, str], parameters: Array, ny: int, nx: int, angle: float, with_sweep: bool
) -> tuple[Coordinate, ...]:
    """What was measured once at each position, such as the height.

    The place is among it where the grid is turned, start and end of the sweep where `with_sweep`;
    of a grid that was stopped `measured` is 0 where nothing was.
    """
    known = [] if with_sweep else ["Sweep Start", "Sweep End"]
    known += [] if angle else ["X", "Y"]
    found = []
    for column, label in enumerate(_parameters(told)[: parameters.shape[1]]):
        name, units = _told(label)
        if name in known:
            continue
        values = np.full(ny * nx, np.nan)
        values[: len(parameters)] = parameters[:, column]
        found.append(Coordinate(f"{name} at start", units, ("Y", "X"), values.reshape(ny, nx)))
    if len(parameters) < ny * nx:
        mask = (np.arange(ny * nx) < len(parameters)).astype(np.uint8).reshape(ny, nx)
        found.append(Coordinate("measured", "", ("Y", "X"), mask))
    return tuple(found)


def _numbered(labels: Sequence[str]) -> list[str]:
    """Labels, of which those that are there twice have a number."""
    found: list[str] = []
    for each in labels:
        name, units = _told(each)
        before = sum(_told(other)[0] == name for other in labels[: len(found)])
        found.append(f"{name} {before + 1} ({units})" if before else each)
    return found


def read_spectrum(path: str) -> Sequence[Foreign]:
    """The channels of a .dat file over its first column."""
    table = _Table.of(path)
    sweep, units = _told(table.heads[0])
    token = (path, FileIdentity.of(path))
    found = []
    for number, head in enumerate(_numbered(table.heads[1:]), start=1):
        name, of = _told(head)
        array = LoadedArray(_Column(path, number), (len(table.values),), np.dtype("f8"), token)
        axis = spectroscopic(sweep, units, table.values[:, 0], quantity=sweep)
        found.append(
            Foreign(
                name.replace("/", "_"),
                array,
                (axis,),
                name,
                of,
                table.told,
                chunks=(len(table.values),),
            )  # fmt: skip
        )
    return found


@dataclass(frozen=True)
class _Table:
    """A .dat file: notes, then a table."""

    told: Mapping[str, str]
    heads: tuple[str, ...]
    values: Array = field(repr=False)

    @classmethod
    def of(cls, path: str) -> _Table:
        with open(path, "rb") as file:
            text = _text(file.read())
        notes, mark, rest = text.partition("[DATA]")
        lines = rest.strip("\r\n").splitlines()
        if not mark or len(lines) < 2:
            raise DamagedStoreError(f"{path!r} ends before its table of values")
        told = dict(line.split("\t", 1) for line in notes.splitlines() if "\t" in line)
        heads = tuple(each.strip() for each in lines[0].split("\t") if each.strip())
        try:
            values = np.loadtxt(io.StringIO("\n".join(lines[1:])), ndmin=2)
        except ValueError as error:
            raise DamagedStoreError(f"the table of {path!r} cannot be read ({error})") from error
        if values.shape[1] != len(heads):
            raise DamagedStoreError(
                f"{path!r} has {len(heads)} columns by their heads, and {values.shape[1]} of values"
            )
        return cls({name: value.strip() for name, value in told.items()}, heads, values)


@dataclass(frozen=True)
class _Column:
    """One column of the table of a .dat file, read when called."""

    path: str
    number: int

    def __call__(self) -> Array:
        column: Array = _Table.of(self.path).values[:, self.number]
        return column


def _header(path: str, end: bytes) -> tuple[str, int]:
    """(the header as text, where it ends)."""
    with open(path, "rb") as file:
        head = file.read(_LONGEST_HEADER)
    at = head.find(end)
    if at < 0:
        raise DamagedStoreError(f"{path!r} is cut short: its header has no end")
    return _text(head[:at]).replace("\r\n", "\n"), at + len(end)


def _text(raw: bytes) -> str:
    """In UTF-8, or in the letters of Windows that older versions write."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _told(label: str) -> tuple[str, str]:
    """("Bias", "V") for "Bias (V)"."""
    matched = re.fullmatch(r"\s*(.*?)\s*(?:\(([^()]*)\))?\s*", label)
    return (label, "") if matched is None else (matched[1] or label, matched[2] or "")


READERS = (
    Reader(
        name="nanonis_sxm",
        title="Nanonis images (.sxm)",
        extensions=(".sxm",),
        claims=lambda path, head: head.startswith(b":NANONIS_VERSION:"),
        read=read_image,
    ),
    Reader(
        name="nanonis_3ds",
        title="Nanonis grids of spectra (.3ds)",
        extensions=(".3ds",),
        claims=lambda path, head: b"Grid dim=" in head and b"Points=" in head,
        read=read_grid,
    ),
    Reader(
        name="nanonis_dat",
        title="Nanonis spectra (.dat)",
        extensions=(".dat",),
        claims=lambda path, head: head.startswith(b"Experiment\t") or b"\n[DATA]" in head,
        read=read_spectrum,
        is_lazy=False,
    ),
)
