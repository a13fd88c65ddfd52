"""Where a fit begins, and which parameters move how far: p0, bounds, fixed."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import PlanError, did_you_mean
from usidx.model.dimension import Array
from usidx.steps.fitting.models import Function, Sum

Start = Mapping[str, Any] | Sequence[float] | xr.Dataset | None


def begin(
    model: Sum | Function,
    p0: Start,
    fixed: Mapping[str, float] | Sequence[str] | None,
    tied: Collection[str],
) -> tuple[Array, dict[str, xr.DataArray], set[str]]:
    """Numbers to begin with (NaN where there is none), maps, and names that stay."""
    names = model.parameters
    numbers = np.full(len(names), np.nan)
    if isinstance(model, Function):
        numbers[:] = [np.nan if each is None else each for each in model.defaults]
    given: dict[str, Any] = {}
    if isinstance(p0, xr.Dataset):
        given = {name: p0[name] for name in names if name in p0.data_vars}
        if not given:
            raise PlanError(f"p0 has none of the parameters {', '.join(names)}")
    elif isinstance(p0, Mapping):
        given = {str(name): value for name, value in p0.items()}
    elif p0 is not None:
        if len(p0) != len(names):
            raise PlanError(
                f"p0 has {len(p0)} values, the model has {len(names)} parameters: "
                f"{', '.join(names)}; a dict begins with some of them"
            )
        given = dict(zip(names, p0, strict=True))
    if isinstance(fixed, Mapping):
        given |= fixed
    held = {fixed} if isinstance(fixed, str) else set(fixed or ())
    held |= set(model.fixed)
    check_names(names, [*given, *held])
    maps = {}
    for name, value in given.items():
        if isinstance(value, xr.DataArray) and value.ndim:
            maps[name] = value
        else:
            numbers[names.index(name)] = float(value)
    if isinstance(model, Function):
        known = {*maps, *tied}
        lost = [n for n, value in zip(names, numbers) if np.isnan(value) and n not in known]
        if lost:
            raise PlanError(
                f"where does the fit of {', '.join(lost)} begin? Give p0={{{lost[0]!r}: ...}}, or "
                "a default in the signature of the function"
            )
    return numbers, maps, held


def bounds_of(
    model: Sum | Function,
    bounds: Mapping[str, Sequence[float | None]] | None,
    x: Array,
    tied: Container[str],
) -> tuple[Array, Array]:
    """Lowest and highest values of each parameter; of those that follow others there are none."""
    names = model.parameters
    low, high = model.limits(x)
    check_names(names, list(bounds or ()))
    for name, pair in (bounds or {}).items():
        if name in tied:
            raise PlanError(f"{name!r} follows others by ties, so that it has no bounds of its own")
        at = names.index(name)
        if len(pair) != 2:
            raise PlanError(f"bounds of {name!r} are (low, high), got {pair!r}")
        lower, upper = pair
        low[at] = max(low[at], -np.inf if lower is None else lower)
        high[at] = min(high[at], np.inf if upper is None else upper)
        if not low[at] < high[at]:
            raise PlanError(
                f"bounds of {name!r} leave nothing between {low[at]} and {high[at]}; to hold a "
                f"parameter say fixed={{{name!r}: ...}}"
            )
    for at, name in enumerate(names):
        if name in tied:
            low[at], high[at] = -np.inf, np.inf
    return low, high


def free_of(model: Sum | Function, held: set[str], tied: Collection[str]) -> Array:
    """Indices of the parameters that are fitted."""
    both = sorted(held & set(tied))
    if both:
        raise PlanError(f"{', '.join(both)} cannot be fixed and follow others at once")
    free = [at for at, name in enumerate(model.parameters) if name not in held | set(tied)]
    if not free:
        raise PlanError("all parameters are fixed, so that there is nothing to fit")
    return np.array(free)


def check_names(names: Sequence[str], given: Sequence[str]) -> None:
    """Nothing, where all that are given are names.

    Raises
    ------
    PlanError : naming those that are not
    """
    unknown = [f"{each!r}{did_you_mean(each, names)}" for each in given if each not in names]
    if unknown:
        raise PlanError(
            f"the model has no parameter {', '.join(unknown)}; it has {', '.join(names)}"
        )
