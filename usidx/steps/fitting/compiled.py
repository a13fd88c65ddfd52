"""The same Levenberg-Marquardt, spectrum by spectrum, in machine code that Numba makes.

The functions are plain Python that Numba compiles when it is there: loops over numbers, no arrays
made inside. Numbers of terms, losses and states are those of `models` and `batched`.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import math
from collections.abc import Callable

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting.batched import ANGLE, EXACT, GAIN, LOSSES, ROUNDING, Problem
from usidx.steps.fitting.models import Sum

_log = logging.getLogger("usidx")
LN2 = math.log(2.0)
ROOT_PI = math.sqrt(math.pi)
_TERMS = 40
_LENGTH = math.sqrt(_TERMS / math.sqrt(2.0))


def _coefficients() -> Array:
    """Of the series of the Faddeeva function (J. Weideman, SIAM J. Numer. Anal. 31, 1497, 1994)."""
    half = 2 * _TERMS
    theta = np.arange(-half + 1, half) * math.pi / half
    t = _LENGTH * np.tan(theta / 2)
    f = np.concatenate([[0.0], np.exp(-(t**2)) * (_LENGTH**2 + t**2)])
    series = np.fft.fft(np.fft.fftshift(f)).real / (2 * half)
    return np.ascontiguousarray(series[1 : _TERMS + 1][::-1])


_SERIES = _coefficients()


@functools.cache
def is_there() -> bool:
    """Whether Numba is installed; where it is not, says once how to get it."""
    if importlib.util.find_spec("numba") is not None:
        return True
    _log.info(
        "fits of named models are some times faster with Numba: pip install 'usidx[fit]'; without "
        "it they run on NumPy, with the same result"
    )
    return False


def fit_compiled(
    problem: Problem, y: Array, weights: Array, start: Array
) -> tuple[Array, Array, Array, Array]:
    """As `batched.fit_batched`, for a model of named terms; weights may have a single row."""
    assert isinstance(problem.model, Sum)
    rows, free = len(y), problem.free.size
    p = np.array(start)
    normal, squares = np.empty((rows, free, free)), np.empty(rows)
    status = np.empty(rows, np.int8)
    many = _compiled()
    many(
        problem.model.codes,
        problem.x,
        np.ascontiguousarray(y),
        np.ascontiguousarray(weights),
        p,
        problem.free,
        problem.low,
        problem.high,
        LOSSES.index(problem.loss),
        float(problem.scale),
        problem.iterations,
        problem.damping,
        normal,
        squares,
        status,
    )
    return p, normal, squares, status


@functools.cache
def _compiled() -> Callable[..., None]:
    import numba
    from numba.extending import register_jitable

    # not NaN and infinity: that of a model out of its range is found by them
    fast = {"contract", "reassoc", "arcp", "nsz"}
    for function in (_values, _faddeeva, _normal, _solve):
        register_jitable(fastmath=fast, error_model="numpy")(function)
    made: Callable[..., None] = numba.njit(
        cache=True, nogil=True, fastmath=fast, error_model="numpy"
    )(_many)
    return made


def _many(
    codes: Array, x: Array, spectra: Array, weights: Array, parameters: Array, free: Array,
    low: Array, high: Array, loss: int, scale: float, iterations: int, damping: float,
    normals: Array, all_squares: Array, status: Array,
) -> None:  # fmt: skip
    """Fit every row of spectra (rows, m), beginning at parameters, which the result replaces."""
    m, k, q = spectra.shape[1], parameters.shape[1], free.size
    f, df = np.empty(m), np.empty((k, m))
    r, jr = np.empty(m), np.empty((q, m))
    y, w = np.empty(m), np.empty(m)
    a, g, b, h = np.empty((q, q)), np.empty(q), np.empty((q, q)), np.empty(q)
    trial, step, work = np.empty(k), np.empty(q), np.empty((q, q))
    held, longest = np.empty(q, np.bool_), np.empty(q)
    plain = q == k and loss == 0 and weights.shape[0] == 1 and weights.min() == weights.max() == 1
    for row in range(spectra.shape[0]):
        p = parameters[row]
        exact = 0.0
        at = row if weights.shape[0] > 1 else 0
        for i in range(m):
            y[i] = spectra[row, i]
            w[i] = weights[at, i]
            exact += (w[i] * y[i]) ** 2
        exact *= EXACT
        for j in range(k):
            p[j] = min(max(p[j], low[j]), high[j])
        _values(codes, x, p, f, df)
        cost, squares = _normal(f, df, y, w, free, plain, loss, scale, r, jr, a, g)
        state = -1 if np.isfinite(cost) else 5
        mu, nu = damping, 2.0
        for j in range(q):
            longest[j] = math.sqrt(a[j, j])
        for _ in range(iterations):
            if state >= 0:
                break
            largest = 0.0
            for j in range(q):
                pj = p[free[j]]
                held[j] = (pj <= low[free[j]] and g[j] > 0) or (pj >= high[free[j]] and g[j] < 0)
                length = math.sqrt(a[j, j] * 2 * cost)
                if not held[j] and length > 0:
                    largest = max(largest, abs(g[j]) / length)
            if largest <= ANGLE or squares <= exact:
                state = 0
                break
            _solve(a, g, held, longest, mu, work, step)
            for j in range(k):
                trial[j] = p[j]
            small = True
            for j in range(q):
                t = free[j]
                trial[t] = min(max(p[t] + step[j], low[t]), high[t])
                step[j] = trial[t] - p[t]
                small = small and abs(step[j]) <= 1e-14 * abs(trial[t])
            predicted = 0.0
            for i in range(q):
                bent = 0.0
                for j in range(q):
                    bent += a[i, j] * step[j]
                predicted -= step[i] * (g[i] + 0.5 * bent)
            _values(codes, x, trial, f, df)
            next_cost, next_squares = _normal(f, df, y, w, free, plain, loss, scale, r, jr, b, h)
            gain = cost - next_cost
            finished = abs(predicted) <= GAIN * cost and abs(gain) <= GAIN * cost
            # a step that is small because it is damped says nothing
            finished = finished and (mu <= 1 or abs(gain) <= ROUNDING * cost)
            if finished or small or mu > 1e30:
                state = 0
            if gain > 0:
                ratio = gain / predicted if predicted > 0 else 0.0
                mu = max(0.03 * mu * max(1 / 3, 1 - (2 * ratio - 1) ** 3), 1e-12)
                nu = 2.0
                cost, squares = next_cost, next_squares
                for j in range(k):
                    p[j] = trial[j]
                for i in range(q):
                    g[i] = h[i]
                    longest[i] = max(longest[i], math.sqrt(b[i, i]))
                    for j in range(q):
                        a[i, j] = b[i, j]
            else:
                mu *= nu
                nu = min(2 * nu, 1e6)
        status[row] = 2 if state < 0 else state
        all_squares[row] = squares
        for i in range(q):
            for j in range(q):
                normals[row, i, j] = a[i, j]


def _normal(
    f: Array, df: Array, y: Array, w: Array, free: Array, plain: bool, loss: int, scale: float,
    r: Array, jr: Array, a: Array, g: Array,
) -> tuple[float, float]:  # fmt: skip
    """Cost and squares; a and g become the normal equations."""
    q, m = free.size, y.size
    squares = 0.0
    for i in range(m):
        r[i] = (f[i] - y[i]) * w[i]
        squares += r[i] * r[i]
    if plain:
        jr = df
    else:
        for j in range(q):
            for i in range(m):
                jr[j, i] = df[free[j], i] * w[i]
    cost = 0.5 * squares
    if loss > 0:
        cost = 0.0
        for i in range(m):
            z = (r[i] / scale) ** 2
            root, value = 1.0, z
            if loss == 1:
                root = math.sqrt(1 + z)
                value = 2 * (root - 1)
            elif z > 1:
                root = math.sqrt(z)
                value = 2 * root - 1
            cost += 0.5 * scale * scale * value
            half = 1 / math.sqrt(root)
            r[i] *= half
            for j in range(q):
                jr[j, i] *= half
    total = cost
    for i in range(q):
        product = 0.0
        for n in range(m):
            product += jr[i, n] * r[n]
        g[i] = product
        for j in range(i + 1):
            product = 0.0
            for n in range(m):
                product += jr[i, n] * jr[j, n]
            a[i, j] = product
            a[j, i] = product
        total += a[i, i]
    return (cost if np.isfinite(total) else np.inf), squares


def _solve(
    a: Array, g: Array, held: Array, longest: Array, mu: float, work: Array, step: Array
) -> None:
    """The damped step, by Cholesky of the equations scaled by the longest derivatives so far."""
    q = g.size
    for i in range(q):
        for j in range(i + 1):
            scale = longest[i] * longest[j]
            if held[i] or held[j] or scale == 0:
                work[i, j] = 1.0 if i == j else 0.0
            else:
                work[i, j] = a[i, j] / scale + (mu if i == j else 0.0)
    for i in range(q):
        for j in range(i + 1):
            left = work[i, j]
            for n in range(j):
                left -= work[i, n] * work[j, n]
            if i == j:
                work[i, i] = math.sqrt(max(left, 1e-14))
            else:
                work[i, j] = left / work[j, j]
    for i in range(q):
        left = 0.0 if held[i] or longest[i] == 0 else -g[i] / longest[i]
        for n in range(i):
            left -= work[i, n] * step[n]
        step[i] = left / work[i, i]
    for back in range(q):
        i = q - 1 - back
        left = step[i]
        for n in range(i + 1, q):
            left -= work[n, i] * step[n]
        step[i] = left / work[i, i]
    for i in range(q):
        step[i] = 0.0 if held[i] or longest[i] == 0 else step[i] / longest[i]


def _faddeeva(z: complex) -> complex:
    """w(z) for Im z >= 0."""
    below = _LENGTH - 1j * z
    ratio = (_LENGTH + 1j * z) / below
    series = 0j
    for i in range(_TERMS):
        series = series * ratio + _SERIES[i]
    return 2 * series / (below * below) + 1 / (ROOT_PI * below)


def _values(codes: Array, x: Array, p: Array, f: Array, df: Array) -> None:
    """Values and derivatives of a sum of terms; each formula stands in `models`."""
    n = x.size
    for i in range(f.size):
        f[i] = 0.0
    o = 0
    for code in codes:
        if code == 0:
            amplitude, center, inverse = p[o], p[o + 1], 2 / p[o + 2]
            for i in range(n):
                u = (x[i] - center) * inverse
                shape = 1 / (1 + u * u)
                f[i] += amplitude * shape
                df[o, i] = shape
            steep = 2 * inverse * amplitude  # loops of few arrays, which are made vectors
            for i in range(n):
                df[o + 1, i] = steep * df[o, i] * df[o, i] * ((x[i] - center) * inverse)
            for i in range(n):
                df[o + 2, i] = df[o + 1, i] * ((x[i] - center) * (0.5 * inverse))
            o += 3
        elif code == 1:
            amplitude, center, inverse = p[o], p[o + 1], 2 / p[o + 2]
            for i in range(n):
                u = (x[i] - center) * inverse
                shape = math.exp(-LN2 * u * u)
                slope = 2 * LN2 * inverse * amplitude * shape * u
                f[i] += amplitude * shape
                df[o, i] = shape
                df[o + 1, i] = slope
                df[o + 2, i] = 0.5 * slope * u
            o += 3
        elif code == 2:
            amplitude, center, inverse, part = p[o], p[o + 1], 2 / p[o + 2], p[o + 3]
            for i in range(n):
                u = (x[i] - center) * inverse
                wide, sharp = math.exp(-LN2 * u * u), 1 / (1 + u * u)
                shape = part * sharp + (1 - part) * wide
                slope = amplitude * u * (2 * part * sharp * sharp + 2 * LN2 * (1 - part) * wide)
                f[i] += amplitude * shape
                df[o, i] = shape
                df[o + 1, i] = slope * inverse
                df[o + 2, i] = 0.5 * slope * inverse * u
                df[o + 3, i] = amplitude * (sharp - wide)
            o += 4
        elif code == 3:
            area, center, sigma, gamma = p[o], p[o + 1], p[o + 2], p[o + 3]
            inverse = 1 / (sigma * math.sqrt(2.0))
            norm = inverse / ROOT_PI
            for i in range(n):
                z = ((x[i] - center) + 1j * gamma) * inverse
                w = _faddeeva(z)
                bend = 2j / ROOT_PI - 2 * z * w
                value = area * norm * w.real
                f[i] += value
                df[o, i] = norm * w.real
                df[o + 1, i] = -area * norm * inverse * bend.real
                df[o + 2, i] = (-value - area * norm * (bend * z).real) / sigma
                df[o + 3, i] = -area * norm * inverse * bend.imag
            o += 4
        elif code == 4:
            amplitude, rate = p[o], 1 / p[o + 1]
            for i in range(n):
                shape = math.exp(-x[i] * rate)
                f[i] += amplitude * shape
                df[o, i] = shape
                df[o + 1, i] = amplitude * shape * x[i] * rate * rate
            o += 2
        elif code == 5:
            for i in range(n):
                f[i] += p[o] * x[i] + p[o + 1]
                df[o, i] = x[i]
                df[o + 1, i] = 1.0
            o += 2
        elif code == 6:
            for i in range(n):
                f[i] += p[o]
                df[o, i] = 1.0
            o += 1
        else:
            amplitude, resonance, quality = p[o], p[o + 1], p[o + 2]
            turned = complex(math.cos(p[o + 3]), math.sin(p[o + 3])) * resonance * resonance
            for i in range(n):
                loss = x[i] * resonance / quality
                real = x[i] * x[i] - resonance * resonance
                size = 1 / (real * real + loss * loss)
                inverted = complex(real * size, loss * size)
                unit = turned * inverted
                value = amplitude * unit
                by_f = value * (2 / resonance + complex(2 * resonance, x[i] / quality) * inverted)
                by_q = value * inverted * complex(0.0, -loss / quality)
                f[2 * i], f[2 * i + 1] = value.real, value.imag
                df[o, 2 * i], df[o, 2 * i + 1] = unit.real, unit.imag
                df[o + 1, 2 * i], df[o + 1, 2 * i + 1] = by_f.real, by_f.imag
                df[o + 2, 2 * i], df[o + 2, 2 * i + 1] = by_q.real, by_q.imag
                df[o + 3, 2 * i], df[o + 3, 2 * i + 1] = -value.imag, value.real
            o += 4
