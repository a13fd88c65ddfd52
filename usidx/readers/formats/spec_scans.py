"""Where the scans of a Spec file are, and what their headers say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError
from usidx.model.dimension import Array
from usidx.readers.formats.edf_headers import number_of
from usidx.readers.raw import FileIdentity

Range = tuple[int, int]
_KEY = re.compile(rb"#(@?[A-Za-z]+)(\d*)\s?")
_APART = re.compile(r"\s{2,}|\t")


@dataclass
class SpecScan:
    """A scan, as far as it is read when a file is opened.

    Parameters
    ----------
    number, order : of the scan, and how many of that number came before it, counted from 1
    command : that was given
    file_header, header : lines by their letters, in the order of the file
    lines : bytes of each line of values
    first : values of the first two columns, one pair for each line
    n_columns : of the values
    spectra : bytes of each spectrum of a multichannel analyser
    channels : how many each spectrum has
    has_fractions : whether the spectra are no whole numbers
    """

    number: str
    order: int
    command: str
    file_header: dict[str, list[str]]
    header: dict[str, list[str]] = field(default_factory=dict)
    lines: list[Range] = field(default_factory=list)
    first: list[tuple[float, float]] = field(default_factory=list)
    n_columns: int = 0
    spectra: list[Range] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    has_fractions: bool = False

    @property
    def name(self) -> str:
        """As silx calls it: "94.1"."""
        return f"{self.number.replace('/', '_')}.{self.order}"

    @property
    def n_expected(self) -> int:
        """How many columns the header says at least; 0 where its lines do not agree."""
        told = self.header.get("N", [""])[0].split()
        count = int(told[0]) if told and told[0].isdigit() else 0
        text = " ".join(self.header.get("L", [])).strip()
        agreed = not text or count in (len(_APART.split(text)), len(text.split()))
        return count if agreed else 0

    @property
    def labels(self) -> list[str]:
        """Names of the columns, each another; "column_1" and so on where those of the file do not
        go with the values."""
        text = " ".join(self.header.get("L", [])).strip()
        found = next(
            (
                [each.strip() for each in parts]
                for parts in (_APART.split(text), text.split())
                if len(parts) == self.n_columns
            ),
            [f"column_{n + 1}" for n in range(self.n_columns)],
        )
        labels: list[str] = []
        for label in found:
            own = label.replace("/", "_")
            same = sum(each == own or each.startswith(f"{own} (") for each in labels)
            labels.append(f"{own} ({same + 1})" if same else own)
        return labels

    @property
    def motors(self) -> dict[str, float | int | str]:
        """Where every motor was when the scan began."""
        found: dict[str, float | int | str] = {}
        for key, lines in self.header.items():
            if not re.fullmatch(r"P\d+", key):
                continue
            values = " ".join(lines).split()
            text = " ".join(self.file_header.get(f"O{key[1:]}", [])).strip()
            for names in (_APART.split(text), text.split()):
                if len(names) == len(values):
                    found.update(zip(names, map(number_of, values)))
                    break
        return found


def scans(path: str, identity: FileIdentity) -> tuple[SpecScan, ...]:
    """Every scan of a file, in its order.

    Raises
    ------
    DamagedStoreError : where a line has fewer values than those before it
    """
    found: list[SpecScan] = []
    file_header: dict[str, list[str]] = {}
    above: dict[str, list[str]] = file_header
    counts: dict[str, int] = {}
    for start, line in _lines(path):
        text = line.strip()
        if text.startswith(b"#"):
            matched = _KEY.match(text)
            if matched is None:
                continue
            key = (matched[1] + matched[2]).decode("ascii", "replace")
            value = _letters(text[matched.end() :]).strip()
            if key == "S":
                number, _, command = value.partition(" ")
                counts[number] = counts.get(number, 0) + 1
                found.append(SpecScan(number, counts[number], command.strip(), file_header))
                above = found[-1].header
            elif key == "F" or (key == "E" and "E" in file_header):
                file_header = above = {key: [value]}
            else:
                above.setdefault(key, []).append(value)
        elif text and found:
            if text.startswith(b"@"):
                _take_spectrum(path, found[-1], start, line)
            else:
                _take_values(path, found[-1], start, line)
    return tuple(found)


def _letters(text: bytes) -> str:
    """Text in UTF-8, or, in older files, in the letters of Western Europe."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    """(place, line) of each line; one that ends with a backslash goes on in the next."""
    with open(path, "rb") as file:
        place, begun = 0, b""
        for line in file:
            begun += line
            if line.rstrip(b"\r\n").endswith(b"\\"):
                continue
            yield place, begun
            place, begun = place + len(begun), b""
        if begun:
            yield place, begun


def _take_values(path: str, scan: SpecScan, start: int, line: bytes) -> None:
    values = line.split()
    scan.n_columns = scan.n_columns or len(values)
    expected = scan.n_columns if scan.lines else max(scan.n_columns, scan.n_expected)
    if len(values) != expected:
        raise DamagedStoreError(
            f"line {len(scan.lines) + 1} of scan {scan.name} of {path!r} has {len(values)} values, "
            f"and {expected} are expected; it is cut short"
        )
    pair = values[: min(2, len(values))] * 2
    try:
        scan.first.append((float(pair[0]), float(pair[1])))
    except ValueError as error:
        raise DamagedStoreError(f"scan {scan.name} of {path!r} has {line[:60]!r}") from error
    scan.lines.append((start, start + len(line)))


def _take_spectrum(path: str, scan: SpecScan, start: int, line: bytes) -> None:
    numbers = _of_spectrum(line)
    if line.rstrip().endswith(b"\\"):
        raise DamagedStoreError(
            f"spectrum {len(scan.spectra) + 1} of scan {scan.name} of {path!r} goes on in a line "
            "that is not there; it is cut short"
        )
    scan.channels.append(len(numbers))
    scan.has_fractions |= any(each in line for each in (b".", b"e", b"E", b"n"))
    scan.spectra.append((start, start + len(line)))


def _of_spectrum(line: bytes) -> list[bytes]:
    return line.replace(b"\\", b" ").split()[1:]


def table(path: str, identity: FileIdentity, lines: Sequence[Range], labels: list[str]) -> Array:
    """The values of a scan, as one record for each line."""
    identity.check(path)
    out = np.empty(len(lines), [(label, "f8") for label in labels])
    with open(path, "rb") as file:
        for row, (start, stop) in enumerate(lines):
            file.seek(start)
            out[row] = tuple(map(float, file.read(stop - start).split()))
    return out


def spectra(
    path: str,
    identity: FileIdentity,
    places: Sequence[Range],
    dtype: np.dtype[Any],
    numbers: Sequence[int],
) -> Iterator[Array]:
    """Spectra by their numbers, each read from its own lines."""
    identity.check(path)
    with open(path, "rb") as file:
        for number in numbers:
            start, stop = places[number]
            file.seek(start)
            yield np.array(_of_spectrum(file.read(stop - start))).astype(dtype)
