"""Filters of a frame by name, for `preprocess` and the command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from usidx.errors import OptionError, did_you_mean
from usidx.model.dimension import Array

# Rows of a band: fewer waste calls, more multiply zeros.
_ROWS = 32
# Multiplications in one product. OpenBLAS starts threads for larger ones, which get in the way of
# those that work on other frames: on two cores that took eight times as long.
_MOST = 2**18
# Bands of rows that share what is smoothed along the other axis.
_AT_ONCE = 8
_Band = tuple[int, int, int, int, Array]


def gaussian(frame: Array, *, sigma: float, truncate: float = 4.0) -> Array:
    """A frame smoothed by a Gaussian along its first two axes, in floating point.

    It gives what `scipy.ndimage.gaussian_filter` gives with `mode="reflect"`, to the rounding of
    its dtype, several times faster: the convolution is a few products of small banded matrices.

    Parameters
    ----------
    frame : ndarray, shape (v, u) or (v, u, channel)
    sigma : standard deviation in pixels
    truncate : where the Gaussian ends, in standard deviations

    Returns
    -------
    ndarray : of the same shape; float32 for integers of up to 16 bits

    Examples
    --------
    >>> spot = np.zeros((5, 5), "u1")
    >>> spot[2, 2] = 100
    >>> gaussian(spot, sigma=0.5).round()[2]
    array([ 0., 8., 62., 8., 0.], dtype=float32)
    """
    if not sigma > 0 or not truncate > 0:
        raise OptionError(f"sigma={sigma} and truncate={truncate} must be above 0")
    dtype = _floating(frame[:0]).dtype
    # A product spreads what is not finite over all rows it multiplies, a convolution does not.
    finite = frame.dtype.kind in "biu" or np.isfinite(frame.sum())
    if frame.ndim != 2 or dtype.kind != "f" or not finite:
        from scipy import ndimage

        values = _floating(frame)
        sigmas = (sigma, sigma) + (0.0,) * (values.ndim - 2)
        smooth: Array = ndimage.gaussian_filter(values, sigmas[: values.ndim], truncate=truncate)
        return smooth
    out = np.empty(frame.shape, dtype)
    window = np.empty((0, frame.shape[1]), dtype)
    begin = end = 0  # the rows that the window has, smoothed along the rows already
    for bands in _groups(_bands(frame.shape[0], sigma, truncate, dtype.str)):
        low, high = min(each[2] for each in bands), max(each[3] for each in bands)
        new = np.ascontiguousarray(_floating(frame[end:high]))
        window = np.concatenate([window[low - begin :], np.empty_like(new)])
        _smooth_along(new, window[end - low :], sigma, truncate)
        begin, end = low, high
        for start, stop, first, last, weights in bands:
            for part, batched in _batches(frame.shape[1], weights.size):
                source = window[first - low : last - low, part]
                source = source.reshape(last - first, *batched).swapaxes(0, 1)
                target = out[start:stop, part].reshape(stop - start, *batched).swapaxes(0, 1)
                np.matmul(weights, source, out=target)
    return out


def _smooth_along(rows: Array, out: Array, sigma: float, truncate: float) -> None:
    """Write rows, each smoothed along itself, to `out`, shape (rows, columns)."""
    count, columns = rows.shape
    for start, stop, low, high, weights in _bands(columns, sigma, truncate, rows.dtype.str):
        for part, batched in _batches(count, weights.size):
            source = rows[part].reshape(*batched, columns)[..., low:high]
            target = out[part].reshape(*batched, columns)[..., start:stop]
            np.matmul(source, weights.T, out=target)


def _groups(bands: Sequence[_Band]) -> Iterator[Sequence[_Band]]:
    """Neighbouring bands: what they need of a frame stays in the cache of a processor."""
    for start in range(0, len(bands), _AT_ONCE):
        yield bands[start : start + _AT_ONCE]


def _batches(size: int, weights: int) -> Iterator[tuple[slice, tuple[int, int]]]:
    """(part of an axis, how many products of how many rows it is): as much as fits in each."""
    each = max(1, _MOST // weights)
    each = each // 8 * 8 or each
    whole = size // each * each
    if whole:
        yield slice(0, whole), (whole // each, each)
    if whole < size:
        yield slice(whole, size), (1, size - whole)


@functools.lru_cache(maxsize=16)
def _bands(size: int, sigma: float, truncate: float, dtype: str) -> tuple[_Band, ...]:
    """The matrix of a convolution along an axis, in bands: (rows from, to, columns from, to, it).

    What is beyond an end is the mirror image of what is within.
    """
    radius = int(truncate * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    bands = []
    for start in range(0, size, _ROWS):
        stop = min(start + _ROWS, size)
        places = (np.arange(start, stop)[:, None] + offsets) % (2 * size)
        places = np.where(places >= size, 2 * size - 1 - places, places)
        low, high = int(places.min()), int(places.max()) + 1
        band = np.zeros((stop - start, high - low))
        rows = np.broadcast_to(np.arange(stop - start)[:, None], places.shape)
        np.add.at(band, (rows, places - low), np.broadcast_to(weights, places.shape))
        bands.append((start, stop, low, high, band.astype(dtype)))
    return tuple(bands)


def median(frame: Array, *, size: int) -> Array:
    """The median of each `size` x `size` neighbourhood of a frame, in its own dtype."""
    from scipy import ndimage

    if int(size) != size or size < 1:
        raise OptionError(f"size={size} must be a whole number of pixels")
    footprint = (int(size), int(size)) + (1,) * (frame.ndim - 2)
    middle: Array = ndimage.median_filter(frame, footprint[: frame.ndim])
    return middle


def binned(frame: Array, *, by: int) -> Array:
    """The means of blocks of `by` x `by` pixels, in floating point; the rest is cut off."""
    if int(by) != by or not 1 <= by <= min(frame.shape[:2]):
        raise OptionError(f"by={by} must be a whole number from 1 to {min(frame.shape[:2])}")
    by = int(by)
    rows, columns = (size // by for size in frame.shape[:2])
    values = _floating(frame)[: rows * by, : columns * by]
    blocks = values.reshape(rows, by, columns, by, *frame.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64), dtype=values.dtype)


def _floating(frame: Array) -> Array:
    if frame.dtype.kind in "fc":
        return frame
    return frame.astype(np.result_type(frame.dtype, np.float32))


FILTERS: dict[str, Callable[..., Array]] = {"gaussian": gaussian, "median": median, "bin": binned}


class Chain:
    """Filters one after the other, as a function of a frame."""

    def __init__(self, filters: Sequence[functools.partial[Array]]) -> None:
        self.filters = tuple(filters)

    def __call__(self, frame: Array) -> Array:
        for each in self.filters:
            frame = each(frame)
        return frame

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        return type(self).__name__, [normalize_token(each) for each in self.filters]

    def __str__(self) -> str:
        from usidx.stacking.portable import called

        return ", ".join(map(called, self.filters))


def parsed(texts: Sequence[str]) -> Chain | None:
    """Filters from texts such as "gaussian:sigma=10,truncate=3"; None where there are none.

    Raises
    ------
    OptionError : for a filter or a parameter that is not there, and values that are no numbers

    Examples
    --------
    >>> print(parsed(["median:size=3", "gaussian:sigma=10"]))
    median(size=3), gaussian(sigma=10)
    """
    return Chain([_one(text) for text in texts]) if texts else None


def _one(text: str) -> functools.partial[Array]:
    name, _, rest = text.partition(":")
    function = FILTERS.get(name.strip())
    if function is None:
        raise OptionError(
            f"there is no filter {name!r}{did_you_mean(name, FILTERS)}; there are "
            f"{', '.join(map(_usage, FILTERS))}"
        )
    known = list(inspect.signature(function).parameters)[1:]
    given: dict[str, float | int] = {}
    for each in filter(None, rest.split(",")):
        key, equals, value = (part.strip() for part in each.partition("="))
        if not equals and not given:  # gaussian:10
            key, value = known[0], key
        if key not in known:
            raise OptionError(f"{text!r}: {name} has no {key!r}; write {_usage(name)}")
        try:
            given[key] = float(value) if "." in value or "e" in value.lower() else int(value)
        except ValueError as error:
            raise OptionError(f"{text!r}: {key} must be a number, not {value!r}") from error
    if known[0] not in given:
        raise OptionError(f"{text!r} needs {known[0]}; write {_usage(name)}")
    return functools.partial(function, **given)


def _usage(name: str) -> str:
    first = list(inspect.signature(FILTERS[name]).parameters)[1]
    return f"{name}:{first}=..."
