"""What says where a frame belongs: its name, a table beside it, or its own header."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from usidx.errors import (
    DamagedStoreError,
    LayoutError,
    MainNotFoundError,
    OptionError,
    StoreNotFoundError,
    did_you_mean,
)
from usidx.stacking.listing import Listing
from usidx.stacking.readers import opened

UNNAMED = "its name does not fit the pattern"
UNLISTED = "it is not in the table of positions"
_FILE_COLUMNS = ("file", "filename", "file name", "name", "path", "frame", "image")
_UNITS = re.compile(r"(.*?)\s*[\[(]([^\])]*)[\])]\s*")
_DIGITS = re.compile(r"([0-9]+)")
Table = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Named:
    """Values of the dimensions for each frame that there is, or that there should be.

    Parameters
    ----------
    listing : the files that are left
    columns : a value for each frame by the names of the dimensions: numbers or texts
    files : number of the file of each frame, -1 where it is not there
    units : of the dimensions, as far as they are told
    """

    listing: Listing
    columns: Mapping[str, Sequence[Any]]
    files: Sequence[int]
    units: Mapping[str, str] = field(default_factory=dict)


def by_pattern(listing: Listing, pattern: str) -> Named:
    """Values from the named groups of a regular expression.

    It is to fit the name without its ending, or with it; the path below the folder where it has a
    "/"; or else a part of the name that is the only one it fits.

    Raises
    ------
    OptionError : for a pattern that is none, has no named groups, or fits no name
    LayoutError : where it fits a name in more than one way
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise OptionError(f"pattern={pattern!r} is no regular expression: {error}") from error
    if not found.groupindex:
        raise OptionError(
            f"pattern={pattern!r} names no dimension; write the number that is one as "
            r"(?P<X>\d+)"
        )
    fit = _Fitting(found)
    groups = [fit(name) for name in listing.names]
    keep = [number for number, each in enumerate(groups) if each is not None]
    if not keep:
        raise OptionError(
            f"pattern={pattern!r} fits none of {len(groups)} names, such as {listing.names[0]!r}"
        )
    rows = [each for each in groups if each is not None]
    columns = {dim: [each[n] for each in rows] for n, dim in enumerate(found.groupindex)}
    return Named(listing.only(keep, UNNAMED), columns, range(len(keep)))


class _Fitting:
    """The groups of a name by a pattern, which may fit all of it or one part of it."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._names = tuple(pattern.groupindex)
        # Every place where it fits, also those within another one.
        self._anywhere = re.compile(f"(?=(?:{pattern.pattern}))", pattern.flags)
        self._whole_path = "/" in pattern.pattern

    def __call__(self, name: str) -> tuple[str, ...] | None:
        name = name.replace(os.sep, "/")
        if not self._whole_path:
            name = name.rpartition("/")[2]
        stem = name[: name.rfind(".")] if "." in name else name
        found = self._pattern.fullmatch(stem) or self._pattern.fullmatch(name)
        if found is not None:
            return self._checked(name, found.group(*self._names))
        for text in (stem, name):
            places = list(self._anywhere.finditer(text))
            if len(places) > 1:
                # Where it may start with a whole number, the end of one is not meant.
                whole = [each for each in places if not _within_number(text, each.start())]
                places = whole or places
            ways = {each.group(*self._names): None for each in places}
            if len(ways) > 1:
                raise LayoutError(
                    f"pattern={self._pattern.pattern!r} fits {name!r} in {len(ways)} ways "
                    f"({' and '.join(map(repr, list(ways)[:2]))}); write what is around it, too, "
                    "or anchor it with ^ or $"
                )
            if ways:
                return self._checked(name, next(iter(ways)))
        return None

    def _checked(self, name: str, groups: Any) -> tuple[str, ...]:
        groups = groups if isinstance(groups, tuple) else (groups,)
        for dim, value in zip(self._names, groups):
            if value is None:
                raise LayoutError(
                    f"pattern={self._pattern.pattern!r} fits {name!r} without its group {dim!r}; "
                    "every frame needs a value along every dimension"
                )
        return tuple(groups)


def _within_number(text: str, place: int) -> bool:
    return 0 < place < len(text) and text[place].isdigit() and text[place - 1].isdigit()


def by_table(listing: Listing, positions: str | os.PathLike[str] | Table) -> Named:
    """Values from a CSV or JSON file, or a mapping from names of files to {dimension: value}.

    Raises
    ------
    StoreNotFoundError, DamagedStoreError : where the table cannot be read
    OptionError : where it says nothing of the files, or not the same of each
    """
    units: dict[str, str] = {}
    table: Table
    if isinstance(positions, (str, os.PathLike)):
        shown = repr(os.fspath(positions))
        table, units = _read_table(os.path.expanduser(os.fspath(positions)))
    else:
        shown, table = "the table of positions", positions
    if not table:
        raise OptionError(f"{shown} has no positions in it")
    dims = list(next(iter(table.values())))
    for name, row in table.items():
        if set(row) != set(dims) or not dims:
            raise OptionError(
                f"{shown} gives {name!r} the dimensions {list(row)} where the first file has {dims}"
            )
    known = {name.replace(os.sep, "/"): number for number, name in enumerate(listing.names)}
    short = {name.rpartition("/")[2]: number for name, number in known.items()}
    places = [known.get(name, short.get(name.rpartition("/")[2], -1)) for name in table]
    keep = sorted({place for place in places if place >= 0})
    if not keep:
        raise OptionError(
            f"{shown} names none of the {len(known)} files, such as {listing.names[0]!r}; it names "
            f"{next(iter(table))!r}"
        )
    new = {old: number for number, old in enumerate(keep)}
    columns = {dim: [row[dim] for row in table.values()] for dim in dims}
    files = [new.get(place, -1) for place in places]
    return Named(listing.only(keep, UNLISTED), columns, files, units)


def _read_table(path: str) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            if path.lower().endswith(".json"):
                return _from_json(path, json.load(file))
            return _from_csv(path, list(csv.reader(file)))
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"there is no table of positions {path!r}") from error
    except (ValueError, csv.Error) as error:
        raise DamagedStoreError(
            f"the table of positions {path!r} cannot be read: {error}"
        ) from error


def _from_json(path: str, found: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    if isinstance(found, Mapping) and all(isinstance(row, Mapping) for row in found.values()):
        return {str(name): dict(row) for name, row in found.items()}, {}
    if isinstance(found, list) and found and all(isinstance(row, Mapping) for row in found):
        key = _file_column(list(found[0]))
        rows = [{name: row.get(name) for name in found[0]} for row in found]
        return _rows_by_file(path, key, rows), {}
    raise OptionError(
        f"{path!r} holds no positions: it must map names of files to {{dimension: value}}, or be a "
        'list of such, each with its "file"'
    )


def _from_csv(
    path: str, lines: list[list[str]]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise OptionError(f"{path!r} needs a line of names, and one for each file")
    units: dict[str, str] = {}
    header = []
    for name in lines[0]:
        found = _UNITS.fullmatch(name)
        header.append(found[1].strip() if found else name.strip())
        if found:
            units[header[-1]] = found[2].strip()
    for number, line in enumerate(lines):
        if len(line) != len(header):
            raise OptionError(
                f"line {number + 1} of {path!r} has {len(line)} cells, the first has {len(header)}"
            )
    rows = [dict(zip(header, (cell.strip() for cell in line))) for line in lines[1:]]
    return _rows_by_file(path, _file_column(header), rows), units


def _file_column(names: Sequence[str]) -> str:
    """The column with the names of the files: one that is called so, or else the first."""
    return next((name for name in names if name.strip().lower() in _FILE_COLUMNS), names[0])


def _rows_by_file(
    path: str, key: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = str(row[key])
        if name in table:
            raise OptionError(f"{path!r} gives {name!r} two positions")
        table[name] = {dim: value for dim, value in row.items() if dim != key}
    return table


def by_metadata(listing: Listing, reader: str, metadata: Mapping[str, str]) -> Named:
    """Values from what each file says of itself, such as a TIFF tag or a motor in an EDF header.

    Every file is opened.

    Raises
    ------
    MainNotFoundError : where a file has nothing of such a name
    """
    columns: dict[str, list[Any]] = {dim: [] for dim in metadata}
    for number in range(len(listing.names)):
        path = listing.path(number)
        with opened(path, reader) as frames:
            told = frames.told()
        for dim, name in metadata.items():
            if name not in told:
                raise MainNotFoundError(
                    f"{path!r} has no {name!r}{did_you_mean(name, map(str, told))}; it has "
                    f"{', '.join(sorted(map(str, told)))}"
                )
            columns[dim].append(told[name])
    return Named(listing, columns, range(len(listing.names)))


def counted(listing: Listing) -> list[int] | None:
    """The number of each file, where all names are the same but for one number; else None.

    Examples
    --------
    >>> import numpy as np
    >>> counted(Listing("", ("map_2_007.tif", "map_2_009.tif"), np.zeros((2, 2)), {}))
    [7, 9]
    """
    if listing.in_order or len(listing.names) < 2:
        return None
    split = [_DIGITS.split(name) for name in listing.names]
    first = split[0]
    columns = list(zip(*split)) if all(len(each) == len(first) for each in split) else []
    varying = [n for n, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:
        return None
    return [int(text) for text in columns[varying[0]]]
