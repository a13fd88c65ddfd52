"""Where a fit of named terms begins, in loops over numbers, for Numba to compile.

The formulas are those of `guesses`; one spectrum after the other stays in the cache.
"""

from __future__ import annotations

import math

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.shapes import terms

_BASELINE, _DECAY, _PEAK = range(3)


def guess_many(codes: Array, x: Array, distances: Array, spectra: Array, found: Array) -> None:
    """Guess the parameters, which found (rows, k) becomes, of spectra (rows, n) without NaN.

    x (n,) ascends; distances (n,) are those between its samples.
    """
    n = x.size
    left, r, work = np.empty(n), np.empty(n), np.empty(n)
    df, p, narrow = np.empty((4, n)), np.empty((1, 4)), distances.min()
    decays = False
    for code in codes:
        decays = decays or _kind(code) == _DECAY
    for row in range(spectra.shape[0]):
        for i in range(n):
            left[i] = spectra[row, i]
        done, taken = 0, False
        for kind in range(3):
            first = 0
            for number in range(codes.size):
                code = codes[number]
                if _kind(code) == kind:
                    if kind == _BASELINE:
                        _baseline(code, x, left, decays, taken, p)
                        taken = True
                    elif kind == _DECAY:
                        _decay(x, left, p, work)
                    else:
                        _peak(code, x, distances, narrow, left, p, work)
                    for i in range(_count(code)):
                        found[row, first + i] = p[0, i]
                    done += 1
                    if done < codes.size:
                        terms(codes[number : number + 1], x, p, 0, p, left, r, df, work)
                        for i in range(n):
                            left[i] = -r[i]
                first += _count(code)


def _kind(code: int) -> int:
    if code > 4:
        return _BASELINE
    return _DECAY if code == 4 else _PEAK


def _count(code: int) -> int:
    """How many parameters the term has."""
    if code < 4:
        return 3 if code < 2 else 4
    return 1 if code == 6 else 2


def _baseline(code: int, x: Array, left: Array, decays: bool, taken: bool, p: Array) -> None:
    p[0, 0], p[0, 1] = 0.0, 0.0
    if taken:  # a second one has nothing left to describe
        return
    edge = max(1, x.size // 16)
    end = x.size - edge
    first, last, near, far = 0.0, 0.0, 0.0, 0.0
    for i in range(edge):
        first += left[i] / edge
        near += x[i] / edge
        last += left[end + i] / edge
        far += x[end + i] / edge
    if code == 6:
        p[0, 0] = last if decays else 0.5 * (first + last)
        return
    p[0, 0] = 0.0 if decays or far == near else (last - first) / (far - near)
    p[0, 1] = last - p[0, 0] * far


def _decay(x: Array, left: Array, p: Array, work: Array) -> None:
    """The exponential through the logarithms of what is well above the noise."""
    begin, highest, n = 0.0, -np.inf, x.size
    for i in range(max(1, n // 8)):
        begin += left[i]
    sign = -1.0 if begin < 0 else 1.0
    for i in range(n):
        work[i] = sign * left[i]
        highest = max(highest, work[i])
    total, mean_x, mean_y, square, product = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        y = work[i]
        if y > 0 and y > 0.1 * highest:
            w, each = y * y, math.log(y)  # w: of log y where y has even noise
            total += w
            mean_x += w * x[i]
            mean_y += w * each
            square += w * x[i] * x[i]
            product += w * x[i] * each
    mean_x, mean_y, square = mean_x / total, mean_y / total, square / total
    spread = square - mean_x * mean_x
    slope = (product / total - mean_x * mean_y) / spread
    span = x[n - 1] - x[0] if n > 1 else 1.0
    if not np.isfinite(slope) or slope == 0 or not spread > 1e-12 * square:
        slope = -1 / span
    amplitude = sign * math.exp(mean_y - slope * mean_x)
    usable = np.isfinite(amplitude)
    p[0, 0] = amplitude if usable else left[0]
    p[0, 1] = -1 / slope if usable else span


def _peak(
    code: int, x: Array, distances: Array, narrow: float, left: Array, p: Array, work: Array
) -> None:
    n = x.size
    for i in range(n):
        work[i] = left[i]
    if n >= 16:
        for i in range(1, n - 1):
            work[i] = (left[i - 1] + left[i] + left[i + 1]) * (1 / 3)
    high, deep = -np.inf, np.inf
    for i in range(n):
        high, deep = max(high, work[i]), min(deep, work[i])
    height = high if high >= -deep else deep
    sign, half, width, at = 1.0 if high >= -deep else -1.0, abs(0.5 * height), 0.0, 0
    while work[at] != height:
        at += 1
    for i in range(n):
        width += distances[i] if sign * work[i] > half else 0.0
    width = max(width, narrow)
    p[0, 0], p[0, 1], p[0, 2], p[0, 3] = height, x[at], width, 0.5
    if code == 3:  # half of the width of each kind
        p[0, 0] = height * width * 1.06 * math.sqrt(1.44)
        p[0, 2], p[0, 3] = 0.6 * width / 2.3548, 0.3 * width
