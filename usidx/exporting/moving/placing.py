"""Where Mains go that are added to a file: paths as they were, and as they will be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from usidx.model.names import next_indexed

_MEASUREMENT = re.compile(r"Measurement_[0-9]{3,}")
_RESULT = re.compile(r".+-[^-]+_[0-9]{3,}")

Names = Callable[[str], Iterable[str]]
"""What there is in the group at a path of the file."""


@dataclass(frozen=True)
class Places:
    """What becomes of the groups that Mains lay in.

    Parameters
    ----------
    moved : the new path of each group by its old one; what is below goes with it
    home : the group in the file that all of them are in or below
    """

    moved: Mapping[str, str]
    home: str

    def of(self, path: str) -> str | None:
        """The new path of a Main or group; None where it stays behind."""
        fitting = [old for old in self.moved if f"{path}/".startswith(old.rstrip("/") + "/")]
        if not fitting:
            return None
        old = max(fitting, key=len)
        return f"{self.moved[old].rstrip('/')}/{path[len(old) :].strip('/')}".rstrip("/")


def channel_of(path: str) -> str:
    """The group of the raw Main that a Main at `path` is, or is a result of.

    Examples
    --------
    >>> channel_of("/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000/Fit")
    '/Measurement_000/Channel_000'
    """
    parts = path.strip("/").split("/")[:-1]
    while parts and _RESULT.fullmatch(parts[-1]):
        parts.pop()
    return "/" + "/".join(parts)


def next_measurements(paths: Iterable[str], names: Names) -> Places:
    """Each Measurement becomes the next one of the file; channels stay as they are within.

    Mains that lie elsewhere become channels of one more Measurement.
    """
    taken = list(names("/"))
    moved: dict[str, str] = {}

    def following() -> str:
        taken.append(next_indexed(taken, "Measurement"))
        return "/" + taken[-1]

    loose = []
    for channel in dict.fromkeys(map(channel_of, paths)):
        first = channel.split("/")[1]
        if not _MEASUREMENT.fullmatch(first):
            loose.append(channel)
        elif f"/{first}" not in moved:
            moved[f"/{first}"] = following()
    if loose:
        home = following()
        moved.update((old, f"{home}/Channel_{n:03d}") for n, old in enumerate(loose))
    return Places(moved, "/")


def places_in(group: str, paths: Iterable[str], names: Names) -> Places:
    """Each channel becomes the next one of a Measurement; any other group takes them as they are.

    Parameters
    ----------
    group : path of the Measurement, or of the other group
    paths : of the Mains
    names : in the groups of the file
    """
    home = "/" + group.strip("/")
    channels = list(dict.fromkeys(map(channel_of, paths)))
    if not _MEASUREMENT.fullmatch(home.rsplit("/", 1)[-1]):
        return Places(dict.fromkeys(channels, home), home)
    taken = list(names(home))
    moved = {}
    for channel in channels:
        taken.append(next_indexed(taken, "Channel"))
        moved[channel] = f"{home}/{taken[-1]}"
    return Places(moved, home)
