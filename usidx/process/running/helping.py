"""A block that is computed piece by piece, also by threads that have no block of their own.

Where the data are small there are fewer blocks than threads, and the last blocks of a run end at
different times. Threads that would wait take pieces of the blocks that others compute.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from usidx.model.blocks import Block
from usidx.model.dimension import Array
from usidx.model.pieces import cut_in, within
from usidx.process.running.work import Commit

if TYPE_CHECKING:
    from usidx.process.running.streaming import Stream

# Results of a block that are no larger are written at once.
GATHERED = 2**20
_memory = threading.local()

Key = tuple[slice, ...]
Put = Callable[[Key, tuple[int, ...], Array], None]
Read = Callable[[Key, Array], Array]


class Doing:
    """A block in the making; calling it computes, writes and marks all of it.

    Parameters
    ----------
    stream : how
    commits : what becomes of the values; all have the same positions
    """

    def __init__(self, stream: Stream, commits: tuple[Commit, ...]) -> None:
        self._stream = stream
        self.commits = commits
        self._where = commits[0].key[: len(stream.piece)]
        self._keys: Iterator[Key] = iter(())
        self._whole: Array | None = None
        self._gathered: dict[str, Array] = {}
        self._turn = threading.Condition()
        self._state: Literal["to begin", "called off", "begun", "shared", "ended"] = "to begin"
        self._helpers = 0
        self._error: Exception | None = None
        self._moved = False

    def __call__(self, shared: object = None) -> float:
        """Seconds that it took.

        Raises
        ------
        Exception : whatever was raised for one of the pieces, by whichever thread
        """
        started = time.perf_counter()
        self._go_on("begun")
        try:
            self._begin()
            self._go_on("shared")
            self._take_part()
        finally:
            self._go_on("ended")
        if self._moved:
            # The file changed meanwhile: once more, with a look at it for each piece.
            self._error, self._keys = None, self._cut()
            self._compute(getattr(self._stream.array, "read", None))
        if self._error is not None:
            raise self._error
        for commit in self.commits:
            if commit.name in self._gathered:
                commit.writer.write(commit.key, self._gathered[commit.name])
        for commit in self.commits:
            commit.mark()
        return time.perf_counter() - started

    def help(self) -> None:
        """Take part in it until there are no more pieces; what goes wrong is told by who has it."""
        with self._turn:
            while self._state in ("to begin", "begun"):
                self._turn.wait()
            if self._state != "shared":
                return
            self._helpers += 1
        try:
            self._take_part()
        finally:
            with self._turn:
                self._helpers -= 1
                self._turn.notify_all()

    def call_off(self) -> None:
        """Nobody waits for it to begin any more: it may never do so."""
        with self._turn:
            if self._state == "to begin":
                self._state = "called off"
                self._turn.notify_all()

    def _go_on(self, state: Literal["begun", "shared", "ended"]) -> None:
        with self._turn:
            self._state = state
            self._turn.notify_all()
            while state == "ended" and self._helpers:
                self._turn.wait()

    def _begin(self) -> None:
        """Have what all threads need: room for small results, and chunks larger than pieces."""
        for commit in self.commits:
            if _is_gathered(commit):
                shape = Block(commit.key).shape
                self._gathered[commit.name] = np.empty(shape, commit.writer.dtype)
        if self._stream.read_whole:
            everything = tuple(slice(0, size) for size in self._rest)
            self._whole = self._stream.array[self._where + everything]
        self._keys = self._cut()

    @property
    def _rest(self) -> tuple[int, ...]:
        """Sizes of the axes that are no positions."""
        return self._stream.array.shape[len(self._where) :]

    def _cut(self) -> Iterator[Key]:
        return cut_in(self._where, self._stream.piece)

    def _take_part(self) -> None:
        """Compute and write pieces until there are none, and note what went wrong with them."""
        error, moved = None, False
        try:
            moved = not self._part()
        except Exception as raised:
            error = raised
        if moved or error is not None:
            with self._turn:
                self._moved = self._moved or moved
                self._error = self._error or error
                self._keys = iter(())

    def _part(self) -> bool:
        """Whether the values of all pieces were still in their place afterwards."""
        array = self._stream.array
        reading: Any = getattr(array, "reading", lambda: None)()
        if reading is None:
            self._compute(getattr(array, "read", None))
            return True
        with reading:
            try:
                self._compute(reading.read)
            except Exception:
                if reading.holds():
                    raise
                return False
            return bool(reading.holds())

    def _compute(self, read: Read | None) -> None:
        """Compute and write pieces until there are none."""
        stream = self._stream
        with contextlib.ExitStack() as stack:
            puts = {each.name: self._put(each, stack) for each in self.commits}
            for key, shape, values in self._pieces(read):
                results = stream.programs[shape](values)
                for name, result in zip(stream.names, results, strict=True):
                    if name in puts:
                        puts[name](key, shape, result)

    def _pieces(self, read: Read | None) -> Iterator[tuple[Key, tuple[int, ...], Array]]:
        """(slices of the positions, their shape, their values) of each piece; valid until the next.

        The next piece is whichever no thread has taken yet.
        """
        array, rest = self._stream.array, self._rest
        everything = tuple(slice(0, size) for size in rest)
        rooms: dict[tuple[int, ...], Array] = {}
        while True:
            with self._turn:
                key = next(self._keys, None)
            if key is None:
                return
            shape = tuple([part.stop - part.start for part in key])
            if self._whole is not None:
                yield key, shape, self._whole[within(key, self._where)]
            elif read is None:
                yield key, shape, np.asarray(array[key + everything])
            else:
                if shape not in rooms:
                    rooms[shape] = _room(shape + rest, array.dtype)
                yield key, shape, read(key + everything, rooms[shape])

    def _put(self, commit: Commit, stack: contextlib.ExitStack) -> Put:
        """A function that takes the pieces of a block that one thread makes."""
        rest = commit.key[commit.n_marks :]
        expected = Block(rest).shape
        block = self._gathered.get(commit.name)
        if block is not None:

            def gather(key: Key, shape: tuple[int, ...], values: Array) -> None:
                block[within(key, commit.key)] = commit.checked(values, shape + expected)

            return gather
        write = stack.enter_context(commit.writer.pieces())  # type: ignore[attr-defined]

        def put(key: Key, shape: tuple[int, ...], values: Array) -> None:
            write(key + rest, commit.checked(values, shape + expected))

        return put


def help_with(blocks: Sequence[Doing]) -> None:
    """Take part in each of some blocks that others have begun, or are about to."""
    for each in blocks:
        each.help()


def _is_gathered(commit: Commit) -> bool:
    """Whether all values of a block are written at once: few, or for a store of whole blocks."""
    nbytes = math.prod(Block(commit.key).shape) * np.dtype(commit.writer.dtype).itemsize
    return not hasattr(commit.writer, "pieces") or nbytes <= GATHERED


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Memory that this thread reads into each time; what was in it is lost."""
    nbytes = math.prod(shape) * dtype.itemsize
    memory: Array | None = getattr(_memory, "piece", None)
    if memory is None or memory.nbytes < nbytes:
        memory = _memory.piece = np.empty(nbytes, np.uint8)
    room: Array = memory[:nbytes].view(dtype).reshape(shape)
    return room
