"""Names of groups: Measurement_000, Channel_000 and <Main>-<Tool>_000, matched exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from usidx.errors import OptionError


def parse_result(name: str, main: str) -> tuple[str, int] | None:
    """(tool, index) of a result group of `main`, or None where `name` is something else.

    The name must be what `result_name` gives: "Raw_Data_2-Fit_000" is none of "Raw_Data", and
    "Raw_Data-Fit_old" is no result group.

    Examples
    --------
    >>> parse_result("Raw_Data-SHO_Fit_012", "Raw_Data")
    ('SHO_Fit', 12)
    """
    # A tool has no '-', which keeps the results of a Main "A" apart from those of a Main "A-B".
    found = re.fullmatch(re.escape(main) + r"-([^-]+)_([0-9]{3,})", name)
    if found is None:
        return None
    tool, digits = found.groups()
    index = int(digits)
    return (tool, index) if digits == f"{index:03d}" else None


def result_name(main: str, tool: str, index: int) -> str:
    """Name of the result group number `index` of `tool` on `main`.

    Examples
    --------
    >>> result_name("Raw_Data", "SHO_Fit", 12)
    'Raw_Data-SHO_Fit_012'
    """
    return f"{main}-{clean_tool(tool)}_{index:03d}"


def next_index(names: Iterable[str], main: str, tool: str) -> int:
    """The index after the highest that `tool` has among the result groups of `main`."""
    tool = clean_tool(tool)
    parsed = (parse_result(name, main) for name in names)
    return 1 + max((each[1] for each in parsed if each and each[0] == tool), default=-1)


def next_indexed(names: Iterable[str], base: str) -> str:
    """`base` with the number after the highest in use, such as "Measurement_003"."""
    pattern = re.compile(re.escape(base) + r"_([0-9]{3,})")
    found = (pattern.fullmatch(name) for name in names)
    index = 1 + max((int(each[1]) for each in found if each), default=-1)
    return f"{base}_{index:03d}"


def clean_tool(tool: str) -> str:
    """The name of a tool as groups can have it: no blanks around it, '_' for '-'.

    Raises
    ------
    OptionError : for an empty name, or one with '/' or a NUL
    """
    if not isinstance(tool, str):
        raise OptionError(f"the name of a tool must be text, got {tool!r}")
    cleaned = tool.strip().replace("-", "_")
    if not cleaned or "/" in cleaned or "\0" in cleaned:
        raise OptionError(
            f"{tool!r} cannot name a tool: it becomes part of a group's name, so it may not be "
            "empty or contain '/'; use letters, digits and '_' such as 'SHO_Fit'"
        )
    return cleaned


def natural_key(text: str) -> tuple[Any, ...]:
    """Sort key that puts "Channel_2" before "Channel_10".

    Examples
    --------
    >>> sorted(["a10", "a9"], key=natural_key)
    ['a9', 'a10']
    """
    parts = re.split(r"([0-9]+)", text)
    # text and numbers take turns, so places never compare one with the other
    numbered = tuple(int(part) if place % 2 else part for place, part in enumerate(parts))
    return numbered, text
