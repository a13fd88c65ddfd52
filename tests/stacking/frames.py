"""Frames each of which says by its values which one it is."""

from __future__ import annotations

import numpy as np


def frame(number: int, shape: tuple[int, ...] = (6, 5), dtype: str = "u2") -> np.ndarray:
    """Values that no other frame has: the number in the thousands, the pixel below."""
    return (number * 1000 + np.arange(np.prod(shape)).reshape(shape)).astype(dtype)


def expected(rows: int, columns: int, **options) -> np.ndarray:
    """Frames 0, 1, 2, ... row by row, shape (rows, columns, *frame)."""
    frames = np.stack([frame(number, **options) for number in range(rows * columns)])
    return frames.reshape(rows, columns, *frames.shape[1:])
