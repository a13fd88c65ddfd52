"""Frames that are read one by one, each by its number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import SourceChangedError
from usidx.model.dimension import Array
from usidx.readers.raw import check_token


@dataclass(frozen=True, eq=False)
class FrameArray:
    """Frames of one shape; those that are indexed are read, and no others.

    Parameters
    ----------
    frames : numbers of frames -> the frames, one after the other; picklable, such as a
        `functools.partial` of a function and a path
    shape : (number of frames, ...)
    dtype : of the values
    token : what tells them from any others; where it starts with a path and its `FileIdentity`, the
        file is read only while it is untouched
    """

    # not called "read": an array with a method of that name reads into memory that it is given
    frames: Callable[[Sequence[int]], Iterable[Array]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    token: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.FrameArray", self.token, self.shape, self.dtype.str

    def __getitem__(self, key: Any, /) -> Array:
        """The values that ints and slices select.

        Raises
        ------
        SourceChangedError, StoreNotFoundError : where the file is not what it was
        """
        check_token(self.token)
        parts = list(key) if isinstance(key, tuple) else [key]
        parts += [slice(None)] * (self.ndim - len(parts))
        chosen = np.arange(self.shape[0])[parts[0]]
        numbers = [int(each) for each in np.atleast_1d(chosen)]
        inner = tuple(parts[1:])
        sample = np.broadcast_to(np.False_, self.shape[1:])[inner].shape
        out = np.empty((len(numbers), *sample), self.dtype)
        for place, values in enumerate(self.frames(numbers) if out.size else ()):
            if values.shape != self.shape[1:]:
                raise SourceChangedError(
                    f"frame {numbers[place]} of {self.token!r} has shape {values.shape} now, and "
                    f"had {self.shape[1:]} when it was opened; open it again"
                )
            out[place] = values[inner]
        found: Array = out if np.ndim(chosen) else out[0]
        return found
