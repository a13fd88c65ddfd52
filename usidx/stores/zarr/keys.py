"""What a key of ints and slices means for an array that is read forward."""

from __future__ import annotations

from typing import Any

from usidx.model.blocks import axis_range


def normal(
    key: Any, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...], tuple[int | slice, ...]]:
    """(forward, mirrored, dropped): slices with positive steps to read, which of the axes to turn
    around after that, and which to drop since an int selected them."""
    parts = key if isinstance(key, tuple) else (key,)
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        rest = len(shape) - len(parts) + 1
        parts = parts[:place] + (slice(None),) * rest + parts[place + 1 :]
    if len(parts) > len(shape):
        raise IndexError(f"{len(parts)} indices for an array with {len(shape)} axes")
    parts += (slice(None),) * (len(shape) - len(parts))
    forward: list[slice] = []
    mirrored: list[slice] = []
    dropped: list[int | slice] = []
    for part, size in zip(parts, shape, strict=True):
        places = axis_range(part, size)
        turned = places.step < 0
        ordered = places[::-1] if turned else places
        forward.append(
            slice(ordered[0], ordered[-1] + 1, ordered.step) if len(ordered) else slice(0, 0, 1)
        )
        mirrored.append(slice(None, None, -1 if turned else 1))
        dropped.append(slice(None) if isinstance(part, slice) else 0)
    return tuple(forward), tuple(mirrored), tuple(dropped)


def length(part: slice) -> int:
    """How many places a slice with bounds selects."""
    return len(range(part.start, part.stop, part.step))
