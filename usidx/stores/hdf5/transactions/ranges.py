"""Ranges of bytes, joined where they meet."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Ranges:
    """A set of ranges of bytes.

    Examples
    --------
    >>> ranges = Ranges()
    >>> ranges.add(10, 20)
    >>> ranges.add(20, 25)
    >>> list(ranges.parts(5, 30))
    [(5, 10, False), (10, 25, True), (25, 30, False)]
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Take the bytes from `start` to `stop` in."""
        if stop <= start:
            return
        first, last = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        if first < last:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def touches(self, start: int, stop: int) -> bool:
        """Whether any byte from `start` to `stop` is in."""
        return any(inside for *_, inside in self.parts(start, stop))

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """(start, stop, whether it is in) of the parts of a range, one after the other."""
        number = bisect_right(self._stops, start)
        while start < stop:
            if number == len(self._starts) or self._starts[number] >= stop:
                yield start, stop, False
                return
            if self._starts[number] > start:
                yield start, self._starts[number], False
                start = self._starts[number]
            end = min(stop, self._stops[number])
            yield start, end, True
            start, number = end, number + 1
