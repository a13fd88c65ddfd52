"""A YAML text with the line of everything in it; what YAML would misunderstand is a fault."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from usidx.errors import RecipeError

# Keys and numbers of items from the top: ("steps", 0, "of").
Spot = tuple[str | int, ...]

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
# Whole numbers to the base of 8 or 60 for YAML, which few who write them mean.
_OTHER_BASE = re.compile(r"[-+]?(0[0-7_]+|\d[\d_]*(:[0-5]?\d)+(\.\d*)?)")


@dataclass
class Lined:
    """What a YAML text says.

    Parameters
    ----------
    told : as `yaml.safe_load` gives it; None where there are faults
    lines : of each spot, from 1
    faults : a line and what is wrong in it
    """

    told: Any = None
    lines: dict[Spot, int] = field(default_factory=lambda: {(): 1})
    faults: list[tuple[int, str]] = field(default_factory=list)

    def fault(self, spot: Spot, text: str) -> None:
        """Note what is wrong at a spot, or at what holds it where it is not there."""
        while spot not in self.lines:
            spot = spot[:-1]
        self.faults.append((self.lines[spot], text))


def lined(text: str, name: str) -> Lined:
    """The text, read by YAML's safe loader and no other.

    Parameters
    ----------
    name : what errors call it

    Raises
    ------
    RecipeError : where it is no YAML, or uses aliases

    Examples
    --------
    >>> found = lined("steps:\\n- step: mean\\n", "recipe")
    >>> found.told, found.lines["steps", 0, "step"]
    ({'steps': [{'step': 'mean'}]}, 2)
    """
    import yaml

    found = Lined()
    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                raise RecipeError(f"{name}, line {line}: recipes do not have YAML's aliases (*)")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _walk(node, (), found)
        if not found.faults:
            found.told = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}, line {mark.line + 1}" if mark else name
        raise RecipeError(f"{where}: this is no YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{name} is no YAML: {error}") from error
    return found


def _walk(node: Any, spot: Spot, found: Lined) -> None:
    import yaml

    line = node.start_mark.line + 1
    found.lines.setdefault(spot, line)
    if isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            _walk(each, (*spot, number), found)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _walk_pair(key, value, spot, found)
    elif node.style is None and node.tag.endswith(":str") and _NUMBER.fullmatch(node.value):
        number = yaml.safe_dump(float(node.value)).split("\n", 1)[0]
        text = f"YAML takes {node.value} for text; write {number}, or quote it where it is text"
        found.faults.append((line, text))
    elif node.style is None and node.tag.endswith((":bool", ":int", ":float")):
        _check_plain(node, line, found)


def _check_plain(node: Any, line: int, found: Lined) -> None:
    """That a value without quotes is what it looks like."""
    value = node.value
    if node.tag.endswith(":bool") and value.lower() not in ("true", "false"):
        meant = "true" if value.lower() in ("yes", "on") else "false"
        text = f"YAML takes {value} for {meant}; write {meant}, or quote it where it is text"
    elif _OTHER_BASE.fullmatch(value):
        text = f"YAML takes {value} for a number to another base than 10; quote it, or write it out"
    else:
        return
    found.faults.append((line, text))


def _walk_pair(key: Any, value: Any, spot: Spot, found: Lined) -> None:
    line = key.start_mark.line + 1
    if not key.tag.endswith(":str"):
        found.faults.append((line, f"keys are text, and YAML takes {key.value!r} for another"))
        return
    inner = (*spot, key.value)
    if inner in found.lines:
        found.faults.append((line, f"the key {key.value!r} is there twice"))
    found.lines[inner] = line
    _walk(value, inner, found)
