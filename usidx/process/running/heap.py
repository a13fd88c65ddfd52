"""Memory that is used again and again stays with the process that uses it."""

from __future__ import annotations

import ctypes
import functools
import sys

# Numbers of options in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Bytes: arrays up to the first size come from the heap, of which up to the second stays when free.
_FROM_HEAP, _KEPT = 2**25, 2**25


@functools.cache
def keep_memory() -> bool:
    """Have the C library keep what arrays of a few megabytes were in, for the next ones.

    By itself it gives much of it back to the system at once, and gets it again, page by page, for
    the next array. The workers of dask are told to give back even more: a low-pass took them twice
    the processor time. False where there is no such library.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _FROM_HEAP) and mallopt(_TRIM_THRESHOLD, _KEPT))
