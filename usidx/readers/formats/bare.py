"""Bare frames: values without a header, of which people say what they are, as for LiberTEM."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from usidx.errors import OptionError
from usidx.readers.base import Foreign, Reader, spectroscopic
from usidx.readers.raw import RawArray
from usidx.readers.scans import scan

_SIGNAL = {1: ("channel",), 2: ("v", "u")}


def _claims(path: str, head: bytes) -> bool:
    return False  # nothing in the file tells


def read(
    path: str,
    *,
    dtype: npt.DTypeLike | None = None,
    sig_shape: Sequence[int] | int | None = None,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
    file_header: int = 0,
    frame_header: int = 0,
    frame_footer: int = 0,
) -> Sequence[Foreign]:
    """The frames of a file.

    Parameters
    ----------
    dtype : of the values, "<u2" and the like
    sig_shape : shape of a frame, slowest axis first
    nav_shape : shape of the scan; all frames along one axis when None
    sync_offset : how many frames at the start belong to no position; where it is negative, how many
        positions at the start have no frame
    fill_value : of positions without a frame; NaN when None, for which integers become floats
    file_header, frame_header, frame_footer : bytes before the first frame, before each, behind each
    """
    if dtype is None or sig_shape is None:
        raise OptionError(
            f"{path!r} is a file of bare values: say what they are, such as usidx.open(path, "
            "reader='raw', dtype='<u2', sig_shape=(128, 128), nav_shape=(256, 256))"
        )
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise OptionError(f"dtype={dtype!r} is no dtype of NumPy") from error
    if kind.kind not in "biufc":
        raise OptionError(f"dtype={dtype!r} has no numbers; give one such as '<u2' or '>f4'")
    given = _sizes(sig_shape)
    if min(file_header, frame_header, frame_footer) < 0:
        raise OptionError("file_header, frame_header and frame_footer are numbers of bytes, from 0")
    values = math.prod(given) * kind.itemsize
    stride = frame_header + values + frame_footer
    size = os.path.getsize(path) - file_header
    count, left = divmod(size, stride)
    if left or count < 1:
        raise OptionError(
            f"{path!r} has {size} bytes behind its header, which is not a whole number of frames "
            f"of {given} values of {kind} ({stride} bytes each): it is cut short, or sig_shape, "
            "dtype or one of the headers is another"
        )
    inner = [int(n) * kind.itemsize for n in np.cumprod((1, *given[:0:-1]))[::-1]]
    frames = RawArray(path, (count, *given), kind, file_header + frame_header, (stride, *inner))
    names = _SIGNAL.get(len(given)) or tuple(f"sig_{n}" for n in range(len(given)))
    axes = [spectroscopic(name, size=n) for name, n in zip(names, given)]
    return [
        scan(
            "Raw_Data",
            frames,
            axes,
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            quantity="Intensity",
            units="counts",
        )
    ]


def _sizes(sig_shape: Sequence[int] | int) -> tuple[int, ...]:
    """Of a frame."""
    sizes: list[Any] = list(sig_shape) if isinstance(sig_shape, Iterable) else [sig_shape]
    if not sizes or any(not isinstance(n, (int, np.integer)) or n < 1 for n in sizes):
        raise OptionError(f"sig_shape={sig_shape!r} is no shape: give sizes of at least 1")
    return tuple(int(n) for n in sizes)


READERS = (
    Reader(
        name="raw",
        title="bare frames (reader='raw' with dtype=, sig_shape=, nav_shape=)",
        extensions=(".raw", ".bin"),
        claims=_claims,
        read=read,
    ),
)
