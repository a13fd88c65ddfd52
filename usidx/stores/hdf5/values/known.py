"""Where this process last found datasets of files that have changed since they were opened."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from usidx.stores.hdf5.file import FileIdentity
from usidx.stores.hdf5.objects.place import Place

Name = tuple[str, str, str]
"""Path of a file, path of a dataset in it, digest of what the dataset was when it was opened."""

_MOST_REMEMBERED = 1024


@dataclass(frozen=True)
class KnownPlace:
    """What was found last.

    Parameters
    ----------
    identity : the file, as it was then
    place : where the values were in it
    looked_up : when, in seconds of `time.monotonic`
    """

    identity: FileIdentity
    place: Place
    looked_up: float


_known: OrderedDict[Name, KnownPlace] = OrderedDict()
_known_lock = threading.Lock()


def known_place(name: Name) -> KnownPlace | None:
    """What was found last, if anything was."""
    return _known.get(name)


def remember(name: Name, known: KnownPlace) -> None:
    """Keep what was found, in place of what is longest unused where there is too much."""
    with _known_lock:
        _known[name] = known
        _known.move_to_end(name)
        while len(_known) > _MOST_REMEMBERED:
            _known.popitem(last=False)
