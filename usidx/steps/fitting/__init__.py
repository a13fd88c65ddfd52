"""Nonlinear least squares of every spectrum, many at once."""

from usidx.steps.fitting.curves import curve_fit

__all__ = ["curve_fit"]
