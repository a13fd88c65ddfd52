"""Where a fit of named terms begins: what the height, place and width of each spectrum suggest."""

from __future__ import annotations

import math

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.fitting import compiled as machine
from usidx.steps.fitting.models import Sum, Term
from usidx.steps.sho import guess_parameters


def guess(model: Sum, x: Array, spectra: Array, *, compiled: bool = False) -> Array:
    """Parameters (rows, k) to begin with, for spectra (rows, n) without NaN.

    Baselines come from the ends of the spectra. Peaks are taken one by one, the farthest from the
    baseline first: its width is that of all samples beyond half its height, and it is subtracted
    before the next. `estimates` has the same for Numba.
    """
    if model.is_complex:
        found = guess_parameters(spectra, frequencies=x, iterations=2)
        made = np.stack(found[:4], axis=-1)
        # where nothing oscillates, the fit finds that parameters cannot be told apart
        return np.where(np.isfinite(made), made, [0.0, float(x.mean()), 10.0, 0.0])
    order = np.argsort(x, kind="stable")
    if not np.array_equal(order, np.arange(x.size)):
        x, spectra = x[order], spectra[:, order]
    distances = np.abs(np.gradient(x)) if x.size > 1 else np.ones(1)
    if compiled:
        return machine.guess_compiled(model, x, distances, spectra)
    left = spectra
    parts: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        decays = any(term.kind == "decay" for term in model.terms)
        for kind in ("baseline", "decay", "peak"):
            for at, term in enumerate(model.terms):
                if term.kind != kind:
                    continue
                taken = any(model.terms[each].kind == "baseline" for each in parts)
                if kind == "baseline":
                    parts[at] = _baseline(term, x, spectra, decays, taken)
                elif kind == "decay":
                    parts[at] = _decay(x, left)
                else:
                    parts[at] = _peak(term, x, distances, left)
                is_last = len(parts) == len(model.terms)
                if not is_last:
                    columns = (parts[at][:, i, np.newaxis] for i in range(len(term.parameters)))
                    left = left - term.evaluate(np, x, *columns)[0]
    return np.concatenate([parts[at] for at in range(len(model.terms))], axis=1)


def _baseline(term: Term, x: Array, spectra: Array, decays: bool, taken: bool) -> Array:
    rows, n = spectra.shape
    if taken:  # a second one has nothing left to describe
        return np.zeros((rows, len(term.parameters)))
    edge = max(1, n // 16)
    first, last = spectra[:, :edge].mean(-1), spectra[:, -edge:].mean(-1)
    if term.name == "constant":
        return np.asarray((last if decays else (first + last) / 2)[:, np.newaxis])
    near, far = x[:edge].mean(), x[-edge:].mean()
    slope = np.zeros(rows) if decays or far == near else (last - first) / (far - near)
    return np.stack([slope, last - slope * far], axis=-1)


def _decay(x: Array, spectra: Array) -> Array:
    """The exponential through the logarithms of what is well above the noise."""
    sign = np.where(spectra[:, : max(1, x.size // 8)].sum(-1) < 0, -1.0, 1.0)
    y = spectra * sign[:, np.newaxis]
    w = np.where(y > 0.1 * y.max(-1, keepdims=True), y, 0) ** 2  # of log y where y has even noise
    logs = np.log(np.where(w > 0, y, 1))
    total = w.sum(-1)
    mean_x, mean_y = (w @ x) / total, (w * logs).sum(-1) / total
    square = w @ (x * x) / total
    spread = square - mean_x**2
    slope = ((w * logs) @ x / total - mean_x * mean_y) / spread
    span = x[-1] - x[0] if x.size > 1 else 1.0
    # a single sample has no slope, but for rounding
    known = np.isfinite(slope) & (slope != 0) & (spread > 1e-12 * square)
    slope = np.where(known, slope, -1 / span)
    decay = -1 / slope
    amplitude = sign * np.exp(mean_y - slope * mean_x)
    usable = np.isfinite(amplitude)
    return np.stack(
        [np.where(usable, amplitude, spectra[:, 0]), np.where(usable, decay, span)], axis=-1
    )


def _peak(term: Term, x: Array, distances: Array, spectra: Array) -> Array:
    n = x.size
    smooth = spectra
    if n >= 16:
        smooth = spectra.copy()
        smooth[:, 1:-1] += spectra[:, 2:]
        smooth[:, 1:-1] += spectra[:, :-2]
        smooth[:, 1:-1] *= 1 / 3
    rows = np.arange(len(spectra))
    top, low = smooth.argmax(-1), smooth.argmin(-1)
    high, deep = smooth[rows, top], smooth[rows, low]
    upward = high >= -deep
    height, at = np.where(upward, high, deep), np.where(upward, top, low)
    center = x[at]
    half = np.abs(0.5 * height)[:, np.newaxis]
    beyond = np.where(upward[:, np.newaxis], smooth, -smooth) > half
    if np.ptp(distances) <= 1e-6 * distances.max():
        width = np.count_nonzero(beyond, axis=-1) * distances[0]
    else:
        width = beyond @ distances
    width = np.maximum(width, distances.min())
    if term.name == "voigt":  # half of the width of each kind
        sigma, gamma = 0.6 * width / 2.3548, 0.3 * width
        return np.stack([height * width * 1.06 * math.sqrt(1.44), center, sigma, gamma], axis=-1)
    columns = [height, center, width]
    if term.name == "pseudo_voigt":
        columns.append(np.full(len(rows), 0.5))
    return np.stack(columns, axis=-1)
