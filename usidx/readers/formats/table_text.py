"""Text as a table: what separates its cells, whether it has heads, and whether it is whole."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError, UsidError

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = (",", "\t", ";", None)
_COMMENTS = ("#", "%")
# Bytes at the end of a file by which one that was cut short is known.
_TAIL = 2**16
_HEAD = 8192
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_ZIP = b"PK\x03\x04"
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
# Excel may say in a first line what separates the cells.
_SAID = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# What a head among comments has, where nothing but blanks separates its words.
_OF_HEADS = re.compile(r"(?i)[xyz]|t|time|row|column|.*[\[(].*[\])]")


@dataclass(frozen=True)
class _Form:
    """How a text is a table.

    Parameters
    ----------
    separator : between cells; None for blanks
    decimal : what is before the fraction of a number
    count : how many columns there are
    heads : of the columns, () where there are none
    start : how many lines are above the rows
    """

    separator: str | None
    decimal: str
    count: int
    heads: tuple[str, ...] = field(default=())
    start: int = 0


def is_number(cell: Any) -> bool:
    """Whether text is a number."""
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def is_packed(head: bytes) -> bool:
    """Whether the first bytes of a file say that it is compressed as a whole."""
    return head.startswith((*_PACKED, _ZIP))


def first_lines(path: str, head: bytes) -> list[str] | None:
    """Lines at the beginning of a file that are no comments; [] of one that is no text.

    None where it cannot be unpacked.
    """
    if is_packed(head):
        try:
            with _bytes(path) as file:
                head = file.read(_HEAD)
        except NotUsidError:
            return []
        except _BROKEN:
            return None
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = head.decode("utf-16", "replace")
    elif b"\0" in head:
        return []
    else:
        text = head.decode("utf-8-sig", "replace")
    lines = text.splitlines()
    lines = lines[:-1] if len(head) == _HEAD else lines  # which may be cut
    lines = lines[1:] if lines and _SAID.fullmatch(lines[0]) else lines
    return [line for line in lines if line.strip() and not line.startswith(_COMMENTS)]


def table_in(path: str, separator: str | None, skip: int = 0) -> tuple[pd.DataFrame, bool]:
    """(the table, whether it has heads).

    Letters are those of UTF-8, of UTF-16 where the file says so, else of Windows, as old
    instruments write them. A line of units below the heads goes into them. Heads may be in the last
    comment above the numbers.

    Parameters
    ----------
    path : of the file
    separator : between cells; found out when None
    skip : how many lines to leave out at the beginning

    Raises
    ------
    DamagedStoreError : where it is no whole table
    NotUsidError : where it has no rows
    """
    import pandas as pd

    try:
        encoding = _encoding(path)
        form = _form(path, encoding, separator, skip)
        _check_rows(path, encoding, form)
        with _text(path, encoding) as file:
            for _ in range(form.start):
                file.readline()
            frame = pd.read_csv(
                file,
                sep=form.separator if form.separator is not None else r"\s+",
                header=None,
                names=_each_another(form.heads) if form.heads else None,
                index_col=False,
                comment="#",
                skipinitialspace=True,
                decimal=form.decimal,
            )
    except UsidError:
        raise
    except (ValueError, *_BROKEN) as error:  # all that pandas raises for a broken table
        raise DamagedStoreError(f"{path!r} cannot be read as a table ({error})") from error
    if frame.empty:
        raise NotUsidError(f"{path!r} is a table without rows")
    if form.heads:
        frame = _without_empty(frame)
        if _counts_rows(frame):
            frame = frame.drop(columns=frame.columns[0])
    return frame, bool(form.heads)


@contextmanager
def _bytes(path: str) -> Iterator[IO[bytes]]:
    """A file open for reading, unpacked where it is compressed as a whole."""
    with open(path, "rb") as file:
        head = file.read(6)
        file.seek(0)
        if head.startswith(_ZIP):
            with zipfile.ZipFile(file) as archive:
                names = [each for each in archive.namelist() if not each.endswith("/")]
                if len(names) != 1:
                    raise NotUsidError(f"{path!r} has {len(names)} files in it; one is expected")
                with archive.open(names[0]) as inside:
                    yield inside
            return
        packed = next((how for start, how in _PACKED.items() if head.startswith(start)), None)
        if packed is None:
            yield file
            return
        with packed(file, "rb") as unpacked:
            yield unpacked


@contextmanager
def _text(path: str, encoding: str) -> Iterator[IO[str]]:
    with _bytes(path) as file, io.TextIOWrapper(file, encoding, newline=None) as text:
        yield text


def _encoding(path: str) -> str:
    with _bytes(path) as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
    with _text(path, "utf-8-sig") as text:
        try:
            for _ in iter(lambda: text.read(2**20), ""):
                pass
        except UnicodeError:
            return "cp1252"
    return "utf-8-sig"


def _form(path: str, encoding: str, separator: str | None, skip: int) -> _Form:
    lines: list[tuple[int, str]] = []
    comment = ""
    with _text(path, encoding) as file:
        for number, line in enumerate(file):
            if number < skip or not line.strip():
                continue
            said = _SAID.fullmatch(line.strip())
            if said is not None and not lines:
                separator = separator or said[1]
            elif not line.startswith(_COMMENTS):
                lines.append((number, line))
                if len(lines) == 3:
                    break
            elif not lines:
                comment = line.lstrip("".join(_COMMENTS)).strip()
    if not lines:
        raise NotUsidError(f"{path!r} is a table without rows")
    (start, first), *below = lines
    tried: tuple[str | None, ...] = _SEPARATORS if separator is None else (separator,)
    if separator is None and _is_of_blanks(first):
        tried = (None,)
    for each in tried:
        if len(_cells(first, each)) > 1:
            break
    # numbers with a comma, as several languages write them, are separated by something else
    decimal = "," if each != "," and _has_commas(path, encoding) else "."
    rows = [_cells(line, each) for line in (first, *(line for _, line in below))]
    numbers = [[is_number(cell.replace(decimal, ".")) for cell in row] for row in rows]
    if all(numbers[0]):
        heads = tuple(_cells(comment, each))
        is_head = len(heads) == len(rows[0]) and not any(map(is_number, heads))
        known = each is not None or any(map(_OF_HEADS.fullmatch, heads))
        return _Form(each, decimal, len(rows[0]), heads if is_head and known else (), start)
    heads, start = tuple(rows[0]), start + 1
    if len(rows) == 3 and all(numbers[2]) and not any(numbers[1]) and all(rows[1]):
        if len(rows[1]) == len(heads) and not any(map(is_number, heads)):
            heads = tuple(f"{head} [{unit.strip('[]()')}]" for head, unit in zip(heads, rows[1]))
            start = lines[1][0] + 1
    if len(rows) > 1 and len(rows[1]) == len(heads) + 1 and rows[1][-1]:
        heads = ("", *heads)  # names of rows, which R writes without a head
    return _Form(each, decimal, len(heads), heads, start)


def _is_of_blanks(line: str) -> bool:
    """Whether a line is numbers with commas, and nothing but blanks between them."""
    cells = line.split()
    commas = all(is_number(cell.replace(",", ".")) for cell in cells)
    return len(cells) > 1 and commas and any(re.search(r"\d,\d", cell) for cell in cells)


def _cells(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return [cell.strip('"') for cell in line.partition("#")[0].split()]
    row = next(csv.reader([line.rstrip("\r\n")], delimiter=separator, skipinitialspace=True), [])
    return [cell.strip() for cell in row]


def _each_another(heads: Sequence[str]) -> list[str]:
    """Heads, those without a name and those that are there already with a number."""
    found: list[str] = []
    for number, head in enumerate(heads):
        name, n = head or f"Unnamed: {number}", 0
        own = name
        while own in found:
            n += 1
            own = f"{name}.{n}"
        found.append(own)
    return found


def _without_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """The table without a last column that is a separator at the end of each line."""
    last = frame.iloc[:, -1]
    nothing = str(last.name).startswith("Unnamed:") and last.isna().all()
    return frame.iloc[:, :-1] if nothing and len(frame.columns) > 1 else frame


def _counts_rows(frame: pd.DataFrame) -> bool:
    """Whether the first column is the one that pandas or R write before all others: 0, 1, 2, ..."""
    first = frame.iloc[:, 0]
    is_nameless = str(first.name).startswith("Unnamed:") and first.dtype.kind in "iu"
    counts = np.arange(len(first)) + (0 if first.iloc[0] == 0 else 1)
    return is_nameless and len(frame.columns) > 1 and np.array_equal(first, counts)


def _has_commas(path: str, encoding: str) -> bool:
    with _text(path, encoding) as file:
        lines = [line for line in file.read(_HEAD).splitlines() if not line.startswith(_COMMENTS)]
    head = "\n".join(lines)
    return re.search(r"\d,\d", head) is not None and re.search(r"\d\.\d", head) is None


def _check_rows(path: str, encoding: str, form: _Form) -> None:
    """Nothing, where every row has a cell for each column; pandas would put NaN in their place.

    Raises
    ------
    DamagedStoreError : naming the first row that has not
    """
    with _text(path, encoding) as file:
        below = itertools.islice(file, form.start, None)
        lines = (line for line in below if line.strip() and not line.startswith("#"))
        rows: Iterator[Sequence[str]]
        if form.separator is None:
            rows = (line.partition("#")[0].split() for line in lines)
        else:
            rows = csv.reader(lines, delimiter=form.separator, skipinitialspace=True)
        for number, row in enumerate(rows):
            if len(row) < form.count or any(each.strip() for each in row[form.count :]):
                raise DamagedStoreError(
                    f"row {number} of {path!r} has {len(row)} cells, and the first has "
                    f"{form.count}; it is cut short, its separator is another: give separator=, or "
                    "it has lines above the heads: say how many by skip="
                )


def check_end(path: str) -> None:
    """Say that the last number of a table may be cut short, where no end of line comes behind it.

    Of files that are compressed as a whole, that says it.

    Raises
    ------
    DamagedStoreError : where it has fewer digits than all numbers above it
    """
    with open(path, "rb") as file:
        head = file.read(6)
        if is_packed(head) or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return
        file.seek(max(0, os.path.getsize(path) - _TAIL))
        lines = file.read().rstrip(b" \t").splitlines(keepends=True)[1:]
    if not lines or lines[-1].endswith((b"\n", b"\r")):
        return
    cells = [re.split(rb"[,;\s]", line.strip())[-1] for line in lines]
    *above, last = [len(cell.partition(b".")[2]) for cell in cells if cell]
    if len(above) > 1 and len(set(above)) == 1 and last < above[0]:
        raise DamagedStoreError(
            f"the last number of {path!r}, {cells[-1].decode(errors='replace')!r}, has fewer "
            "digits than those above it, and no end of line; the file is cut short"
        )
    warnings.warn(
        f"the last line of {path!r} has no end; where the file was cut short, its last number may "
        "be another",
        stacklevel=2,
    )
