"""A scan to be put behind URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.h5usid import channel, write_main

SHAPE = (8, 8, 64)
VALUES = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


def write_scan(path: Path, shape: tuple[int, int, int] = SHAPE, **options: Any) -> Path:
    """An h5USID file with a Main of 0, 1, 2, ..."""
    with h5py.File(path, "w") as file:
        write_main(channel(file), shape=shape, **options)
    return path
