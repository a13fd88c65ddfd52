"""What a request costs, beside what bytes cost: how near ranges must be to be one request.

Many small requests leave out what nobody asked for, few long ones wait less. Both are measured as
they are made, for each host; until then it is those of a network of 50 MB/s, where fsspec makes
some thousand requests in a second, side by side.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

_LEAST, _MOST = 2**10, 256 * 2**10
# What tells of bytes, and what of requests.
_LONG, _LONG_IN_ALL = 256 * 2**10, 2 * 2**20
_SHORT, _MANY = 2**14, 64


@dataclass(frozen=True)
class Pace:
    """How fast a host answers.

    Parameters
    ----------
    request : seconds for each request, where many are made side by side
    byte : seconds for each byte
    """

    request: float = 0.3e-3
    byte: float = 1 / 50e6

    @property
    def near(self) -> int:
        """Bytes that take as long as one more request: ranges that are nearer go together."""
        return round(min(max(self.request / self.byte, _LEAST), _MOST))

    def after(self, count: int, nbytes: int, seconds: float) -> Pace:
        """What is known once `count` requests of `nbytes` in all took `seconds`.

        Examples
        --------
        >>> Pace().near, Pace().after(8, 2**23, 2**23 / 5e6).near
        (15000, 2727)
        """
        if nbytes >= max(_LONG_IN_ALL, count * _LONG):
            return replace(self, byte=(self.byte + seconds / nbytes) / 2)
        if count >= _MANY and nbytes <= count * _SHORT:
            alone = max(seconds - nbytes * self.byte, 0) / count
            return replace(self, request=(self.request + alone) / 2)
        return self


_known: dict[str, Pace] = {}
_lock = threading.Lock()


def pace_of(place: str) -> Pace:
    """The pace of a host or bucket, as far as it is known."""
    return _known.get(place, Pace())


def learn(place: str, count: int, nbytes: int, seconds: float) -> None:
    """Take into account that requests to a host or bucket took so long."""
    with _lock:
        _known[place] = pace_of(place).after(count, nbytes, seconds)
