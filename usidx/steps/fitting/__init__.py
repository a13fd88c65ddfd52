"""Nonlinear least squares of every spectrum, many at once."""

from usidx.steps.fitting.curves import curve_fit
from usidx.steps.fitting.oscillators import sho_fit

__all__ = ["curve_fit", "sho_fit"]
