"""`--select` and `--iselect`: part of what a file holds, by labels or by numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np
import xarray as xr

from usidx.arrays.extras import without_extras
from usidx.errors import OptionError, did_you_mean

# Of a result: what says which values it was computed from, which are others in a part of it.
_OF_THE_WHOLE = ("usid_fingerprint", "usid_content", "last_pixel")
Held = xr.DataTree | dict[str, Any]


def selected(held: Held, labels: Sequence[str], numbers: Sequence[str]) -> Held:
    """Part of the Mains along some dimensions; those that have none of these stay whole.

    Results that are not complete are left out, and named in a warning.

    Parameters
    ----------
    held : tree, or Mains by their paths
    labels : texts such as "X=0:1e-6", both ends included, or "X=5e-7" for the nearest
    numbers : texts such as "X=0:10", counted from 0 and without the last, as Python has it

    Raises
    ------
    OptionError : for a dimension that no Main has, and where nothing would be left
    """
    by_label = dict(_pair(text, "--select") for text in labels)
    by_number = dict(_pair(text, "--iselect") for text in numbers)
    twice = sorted(set(by_label) & set(by_number))
    if twice or len(by_label) + len(by_number) < len(labels) + len(numbers):
        raise click.UsageError("a dimension is selected along twice; give each once")
    if not isinstance(held, xr.DataTree):
        nodes = held
    else:
        nodes = {node.path: node.to_dataset(inherit=False) for node in held.subtree}
        nodes = _without_partial(nodes)
    known = {str(dim) for node in nodes.values() for dim in _dims(node)}
    for dim in (*by_label, *by_number):
        if dim not in known:
            raise OptionError(
                f"no Main has the dimension {dim!r}{did_you_mean(dim, known)}; there are "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    parts = {path: _part(node, path, by_label, by_number) for path, node in nodes.items()}
    return xr.DataTree.from_dict(parts) if isinstance(held, xr.DataTree) else parts


def _dims(node: Any) -> tuple[Any, ...]:
    return node.dims if isinstance(node, xr.DataArray) else tuple(without_extras(node).dims)


def _part(node: Any, path: str, by_label: Mapping[str, str], by_number: Mapping[str, str]) -> Any:
    dims = _dims(node)
    picked = {dim: _numbers(text, dim) for dim, text in by_number.items() if dim in dims}
    picked |= {dim: _labels(node, dim, text) for dim, text in by_label.items() if dim in dims}
    if isinstance(node, xr.Dataset) and "usid_status" in node.attrs:
        attrs = {key: value for key, value in node.attrs.items() if key not in _OF_THE_WHOLE}
        node = without_extras(node)
        node.attrs = attrs
    if not picked:
        return node
    part = node.isel(picked)
    empty = [dim for dim in picked if part.sizes[dim] == 0]
    if empty:
        raise OptionError(f"nothing of {path!r} is left along {empty[0]!r}; select more")
    return part


def _without_partial(nodes: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    partial = [path for path, node in nodes.items() if node.attrs.get("usid_status") == "partial"]
    if partial:
        warnings.warn(
            f"results that are not complete are left out of a selection: {', '.join(partial)}",
            stacklevel=3,
        )
    return {
        path: node
        for path, node in nodes.items()
        if not any(f"{path}/".startswith(f"{each}/") for each in partial)
    }


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = (each.strip() for each in text.partition("="))
    if not (name and equals and value):
        raise click.UsageError(f"{option} takes DIM=FROM:TO, got {text!r}")
    return name, value


def _numbers(text: str, dim: str) -> slice:
    try:
        found = [int(each) if each.strip() else None for each in text.split(":")]
    except ValueError as error:
        raise click.UsageError(f"--iselect {dim}={text} takes whole numbers") from error
    if len(found) == 1 and found[0] is not None:
        return slice(found[0], found[0] + 1 or None)
    if not 2 <= len(found) <= 3 or found[2:] == [0]:
        raise click.UsageError(f"--iselect {dim}={text}: use FROM:TO, or FROM:TO:STEP")
    return slice(*found)


def _labels(node: Any, dim: str, text: str) -> slice:
    """The run of numbers whose labels are in a range, both ends included."""
    if dim not in node.coords:
        raise OptionError(f"{dim!r} has no labels to select by; use --iselect {dim}=FROM:TO")
    values = np.asarray(node[dim].values)
    steps = np.diff(values) if values.dtype.kind in "iuf" else np.array([np.nan])
    if not ((steps > 0).all() or (steps < 0).all()):
        raise OptionError(
            f"the labels along {dim!r} neither rise nor fall; use --iselect {dim}=FROM:TO"
        )
    try:
        ends = [float(each) if each.strip() else None for each in text.split(":")]
    except ValueError as error:
        raise click.UsageError(f"--select {dim}={text} takes numbers") from error
    if len(ends) == 1 and ends[0] is not None:
        nearest = int(np.argmin(np.abs(values.astype(float) - ends[0])))
        return slice(nearest, nearest + 1)
    if len(ends) != 2:
        raise click.UsageError(f"--select {dim}={text}: use FROM:TO")
    low, high = (
        -np.inf if ends[0] is None else ends[0],
        np.inf if ends[1] is None else ends[1],
    )
    inside = np.flatnonzero((values >= low) & (values <= high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
