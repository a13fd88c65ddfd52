"""Files that `usidx.open` reads, as frames: one or more images of a detector in each."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np

from usidx.model.dimension import Array
from usidx.readers import store_of
from usidx.readers.frames import Frames
from usidx.stores.choosing import main_called


@contextlib.contextmanager
def foreign_frames(path: str) -> Iterator[Frames]:
    """The spectroscopic sides of the one Main in a file as frames; of an image, its last two axes.

    Raises
    ------
    NotUsidError, DamagedStoreError, MissingDependencyError : as opening the file
    MainNotFoundError : where it holds several Mains
    """
    stored = main_called(store_of(path), None)
    spec = stored.spec
    n = len(spec.position.shape)
    outer, shape = spec.shape[:n], spec.shape[n:]
    tail: tuple[int, ...] = ()
    if spec.spectroscopic.size == 1 and n > 1:  # an image: a value at each position
        outer, shape, tail = spec.shape[: n - 2], spec.shape[n - 2 : n], (0,) * len(shape)

    def read(number: int) -> Array:
        place = tuple(int(each) for each in np.unravel_index(number, outer)) if outer else ()
        window = tuple(slice(0, size) for size in shape)
        return np.asarray(stored.array[place + window + tail])

    def told() -> dict[str, object]:
        return dict(spec.attrs)

    native = spec.dtype.newbyteorder("=")
    yield Frames(shape, native, math.prod(outer), read, told)
