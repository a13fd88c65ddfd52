"""Text as a table: what separates its cells, whether it has heads, and whether it is whole."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = (",", "\t", ";", None)
# Bytes at the end of a file by which one that was cut short is known.
_TAIL = 2**16


def is_number(cell: Any) -> bool:
    """Whether text is a number."""
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def table_in(path: str, separator: str | None) -> tuple[pd.DataFrame, bool]:
    """(the table, whether its first line is heads).

    Heads that are not in UTF-8 are in that of Windows, as old instruments write them.

    Parameters
    ----------
    path : of the file
    separator : between cells; found out when None

    Raises
    ------
    DamagedStoreError : where it is no whole table
    NotUsidError : where it has no rows
    """
    import pandas as pd

    tried = [separator] if separator is not None else list(_SEPARATORS)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip() and not line.startswith("#")), "")
    for each in tried:
        cells = [cell.strip() for cell in first.split(each)]
        if len(cells) > 1:
            break
    # numbers with a comma, as several languages write them, are separated by something else
    comma = each != "," and _has_commas(path)
    has_heads = not all(is_number(cell.replace(",", ".") if comma else cell) for cell in cells)
    _check_rows(path, each, len(cells))
    try:
        frame = pd.read_csv(
            path,
            sep=each if each is not None else r"\s+",
            header=0 if has_heads else None,
            comment="#",
            encoding=_encoding(path),
            skipinitialspace=True,
            decimal="," if comma else ".",
        )
    except (ValueError, UnicodeError) as error:  # all that pandas raises for a broken table
        raise DamagedStoreError(f"{path!r} cannot be read as a table ({error})") from error
    if frame.empty:
        raise NotUsidError(f"{path!r} is a table without rows")
    if has_heads and _counts_rows(frame):
        frame = frame.drop(columns=frame.columns[0])
    return frame, has_heads


def _counts_rows(frame: pd.DataFrame) -> bool:
    """Whether the first column is the one that pandas writes before all others: 0, 1, 2, ..."""
    first = frame.iloc[:, 0]
    is_nameless = str(first.name).startswith("Unnamed:") and first.dtype.kind in "iu"
    return is_nameless and len(frame.columns) > 1 and np.array_equal(first, np.arange(len(first)))


def _encoding(path: str) -> str:
    with open(path, encoding="utf-8-sig") as file:
        try:
            for _ in iter(lambda: file.read(2**20), ""):
                pass
        except UnicodeError:
            return "cp1252"
    return "utf-8-sig"


def _has_commas(path: str) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        head = file.read(8192)
    return re.search(r"\d,\d", head) is not None and re.search(r"\d\.\d", head) is None


def _check_rows(path: str, separator: str | None, count: int) -> None:
    """Nothing, where every row has a cell for each column; pandas would put NaN in their place.

    Raises
    ------
    DamagedStoreError : naming the first row that has not
    """
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = (line for line in file if line.strip() and not line.startswith("#"))
        rows: Iterable[Sequence[str]]
        if separator is None:
            rows = (line.partition("#")[0].split() for line in lines)
        else:
            rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        for number, row in enumerate(rows):
            if len(row) < count:
                raise DamagedStoreError(
                    f"row {number} of {path!r} has {len(row)} cells, and the first has {count}; it "
                    "is cut short, or its separator is another: give separator="
                )


def check_end(path: str) -> None:
    """Say that the last number of a table may be cut short, where no end of line comes behind it.

    Raises
    ------
    DamagedStoreError : where it has fewer digits than all numbers above it
    """
    with open(path, "rb") as file:
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
