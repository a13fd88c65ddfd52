"""NeXus files: the NXdata groups in them, with their axes (https://manual.nexusformat.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from usidx.errors import OptionError
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate
from usidx.readers.base import Axis, Foreign, Reader, default_positions, position, spectroscopic
from usidx.readers.formats.hdf5_objects import dataset_main, holds, is_numeric, objects
from usidx.readers.hierarchies import hdf5, plain, plain_attrs, whole

_INTERPRETATIONS = {"scalar": 0, "spectrum": 1, "image": 2, "rgb-image": 3, "rgba-image": 3}
_MOST_TOLD = 1000


def _is_nxdata(each: Any) -> bool:
    said = plain(each.attrs.get("NX_class"))
    return not hasattr(each, "shape") and said == "NXdata" and _signal_name(each) is not None


def _number(value: Any) -> int | None:
    """A number, of which old files make text."""
    value = plain(value)
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    return value if isinstance(value, int) else None


def _signal_name(group: Any) -> str | None:
    """Name of the signal of an NXdata group, in the convention of today or the one before."""
    name = plain(group.attrs.get("signal"))
    if not isinstance(name, str):
        marked = _marked(group)
        name = next((key for key, number in marked.items() if number == 1), None)
        name = next(iter(marked), None) if name is None else name
    return name if name is not None and _is_signal(group, name) else None


def _marked(group: Any) -> dict[str, int | None]:
    """The fields that are marked as signals, in the convention before that of today."""
    told = {name: getattr(group.get(name), "attrs", {}) for name in group}
    return {name: _number(attrs["signal"]) for name, attrs in told.items() if "signal" in attrs}


def _other_signals(group: Any, first: str) -> list[str]:
    names = [*_texts(group.attrs.get("auxiliary_signals")), *_marked(group)]
    return [name for name in dict.fromkeys(names) if name != first and _is_signal(group, name)]


def _errors_name(group: Any, name: str, is_first: bool) -> str | None:
    """The field that says how sure the values of another are."""
    said = _texts(group[name].attrs.get("uncertainties"))
    said += _texts(group.attrs.get("uncertainties")) if is_first else []
    known = (*said, f"{name}_errors", f"{name}_error", *(("errors",) if is_first else ()))
    return next((each for each in known if each in group and _is_signal(group, each)), None)


def _is_signal(group: Any, name: str) -> bool:
    import h5py

    found = group.get(name)
    return isinstance(found, h5py.Dataset) and is_numeric(found)


def _texts(value: Any) -> list[str]:
    """One or several names as a list: an array, or a text with colons, as old files have it."""
    value = plain(value)
    if isinstance(value, str):
        return [each.strip() for each in re.split("[:,]", value.strip("[] "))]
    return [] if value is None else [str(each) for each in np.ravel(value)]


def read(
    path: str,
    *,
    n_position: int | None = None,
    dataset: str | None = None,
    allow_external: Sequence[str] = (),
) -> Sequence[Foreign]:
    """The NXdata groups of a file: their signals, with their axes.

    What an entry says besides, as single values, are attributes ("instrument.detector.distance").
    Errors of a signal are a Main beside it.

    Parameters
    ----------
    n_position : how many of the axes, the first ones, are positions; else what `interpretation`
        leaves over
    dataset : path of a dataset that is wanted instead, in an NXdata group or not
    allow_external : folders with the other files that links and virtual datasets may lead to
    """
    if dataset is not None:
        from usidx.readers.formats import hdf5_files

        return hdf5_files.read(
            path, dataset=dataset, n_position=n_position, allow_external=allow_external
        )
    described: list[dict[str, Any]] = []
    with hdf5(path, allow_external) as root:
        for where, group in objects(root, allow_external):
            first = _signal_name(group) if _is_nxdata(group) else None
            if first is not None:
                described += _described(group, where, first, n_position)
    return [dataset_main(path, allow_external=allow_external, **each) for each in described]


def _described(group: Any, where: str, first: str, n_position: int | None) -> list[dict[str, Any]]:
    """Arguments of `dataset_main` for every signal of a group, and for their errors."""
    names = [first, *_other_signals(group, first)]
    told = _told(group)
    found: list[dict[str, Any]] = []
    for name in names:
        signal = group[name]
        axes, coordinates = _axes(group, signal, n_position)
        attrs = {**told, **plain_attrs(dict(signal.attrs))}
        title = plain(group.attrs.get("title")) if name == first else None
        attrs["quantity"] = title or attrs.get("long_name") or name
        main = where if len(names) == 1 else f"{where}/{name}"
        both = {"axes": axes, "coordinates": coordinates}
        found.append({"where": f"{where}/{name}", "told": attrs, "name": main, **both})
        errors = _errors_name(group, name, name == first)
        if errors is not None and errors not in names and group[errors].shape == signal.shape:
            units = _units(group, errors) or _units(group, name)
            of_errors = {"quantity": f"errors of {attrs['quantity']}", "units": units}
            own = {"where": f"{where}/{errors}", "name": f"{main}_errors", "kind": "result"}
            found.append({**own, "told": of_errors, **both})
    return found


def _positions(group: Any, signal: Any, asked: int | None) -> int:
    if asked is not None and not 0 <= asked <= signal.ndim:
        raise OptionError(
            f"n_position={asked} is not between 0 and {signal.ndim}, the axes of {signal.name!r}"
        )
    inner = _INTERPRETATIONS.get(_interpretation(group, signal))
    count = default_positions(signal.ndim) if inner is None else signal.ndim - inner
    return max(0, count if asked is None else asked)


def _interpretation(group: Any, signal: Any) -> str:
    said = signal.attrs.get("interpretation") or group.attrs.get("interpretation")
    return str(plain(said))


def _axes(
    group: Any, signal: Any, n_position: int | None
) -> tuple[list[Axis], tuple[Coordinate, ...]]:
    """(axes of a signal, fields along them that are no axis); some of the first are positions."""
    labels = _axis_names(group, signal)
    fields = dict(_fields(group, signal, labels))
    count = _positions(group, signal, n_position)
    spread = {name: dims for name, (dims, _) in fields.items() if len(dims) > 1}
    if n_position is None:  # what has a value for each cell of a map says where that is
        count = max([count, *(max(spread[name]) + 1 for name in labels if name in spread)])
    labels = ["." if name in spread else name for name in labels]
    # points anywhere in a plane: one axis of the signal, and several fields along it
    if signal.ndim == 1 and len(labels) > 1:
        axes, names = [position("point", size=signal.shape[0])], [""]
    else:
        first = {
            dims[0]: name
            for name, (dims, values) in reversed(fields.items())
            if len(dims) == 1 and values.dtype.kind != "U"
        }
        names = [first.get(axis, "") for axis in range(signal.ndim)]
        axes = []
        for axis, (name, size) in enumerate(zip(names, signal.shape, strict=True)):
            make = position if axis < count else spectroscopic
            if name:
                told = _units(group, name), fields[name][1]
                axes.append(make(name, *told, quantity=_long_name(group, name)))
            else:
                axes.append(make(_label(labels, axis, signal, group), size=size))
    dims = [each.dimension.name for each in axes]
    coordinates = tuple(
        Coordinate(
            f"{name}_labels" if name in dims else name,
            _units(group, name),
            tuple(dims[axis] for axis in along),
            values,
        )
        for name, (along, values) in fields.items()
        if name not in names and len(set(dims)) == len(dims)
    )
    return axes, coordinates


def _label(labels: Sequence[str], axis: int, signal: Any, group: Any) -> str:
    """Name of an axis that no field has values for."""
    said = labels[axis] if axis < len(labels) else ""
    if said not in (".", ""):
        return said
    colours = _interpretation(group, signal) in ("rgb-image", "rgba-image")
    return "channel" if colours and axis == signal.ndim - 1 else f"dim_{axis}"


def _axis_names(group: Any, signal: Any) -> list[str]:
    """Names of the fields that are axes, "." for an axis that has none.

    Where there are fewer than axes, each stands where its field says or fits, else they are the
    last ones.
    """
    names = _texts(group.attrs.get("axes")) or _texts(signal.attrs.get("axes"))
    if names and len(names) >= signal.ndim:
        return names
    if names:
        placed = ["."] * signal.ndim
        said = [_said_axes(group, name) for name in names]
        sizes = [getattr(group.get(name), "shape", None) for name in names]
        starts = (signal.ndim - len(names), 0)
        start = next(
            (start for start in starts if _fit(sizes, signal.shape[start:])),
            next((start for start in starts if _fit(sizes, signal.shape[start:], 1)), starts[0]),
        )
        for place, (name, own) in enumerate(zip(names, said), start):
            place = place if own is None or len(own) != 1 else own[0]
            if place < signal.ndim:
                placed[place] = name
        return placed
    numbered: dict[int, tuple[int, str]] = {}
    for name in group:
        attrs = getattr(group.get(name), "attrs", {})
        number, rank = _number(attrs.get("axis")), _number(attrs.get("primary"))
        # of several along one axis, that of which it is said comes first
        if number is not None:
            found = (1 if rank is None else rank, str(name))
            numbered[number] = min(found, numbered.get(number, found))
    return [numbered.get(axis + 1, (0, "."))[1] for axis in range(signal.ndim)]


def _fit(sizes: Sequence[Any], shape: Sequence[int], more: int = 0) -> bool:
    return all(size == (n + more,) for size, n in zip(sizes, shape))


def _said_axes(group: Any, name: str) -> tuple[int, ...] | None:
    """The axes of the signal along which a group says that a field is."""
    said = group.attrs.get(f"{name}_indices")
    if said is None or np.asarray(said).dtype.kind not in "iu":
        return None
    return tuple(int(each) for each in np.ravel(said))


def _fields(
    group: Any, signal: Any, names: Sequence[str]
) -> Iterator[tuple[str, tuple[tuple[int, ...], Array]]]:
    """(name, (axes of the signal along which it is, values)) of each field that belongs to axes."""
    marked = {key: _number(getattr(group.get(key), "attrs", {}).get("axis")) for key in group}
    others = [
        str(key).removesuffix("_indices") for key in group.attrs if key.endswith("_indices")
    ] + [name for name, number in marked.items() if number is not None]
    for name in dict.fromkeys([*names, *others]):
        field = group.get(name) if name not in (".", "") else None
        if field is None or getattr(field, "ndim", 0) == 0 or field.dtype.kind not in "iufSO":
            continue
        if field.size > signal.size + max(signal.shape):
            continue
        axes = _said_axes(group, name)
        if axes is None:
            place = names.index(name) if name in names else (marked.get(name) or 1) - 1
            alone = (place,) if place < signal.ndim and len(names) <= signal.ndim else (0,)
            axes = alone if field.ndim == 1 else tuple(range(field.ndim))
        values = _texts_of(field) if field.dtype.kind in "SO" else whole(field)
        if values is None or any(axis >= signal.ndim for axis in axes):
            continue
        shape = tuple(signal.shape[axis] for axis in axes)
        if len(axes) == 1 and values.shape == (shape[0] + 1,) and values.dtype.kind != "U":
            values = (values[:-1] + values[1:]) / 2  # edges of bins
        if values.shape == shape:
            yield name, (axes, values)
        errors = group.get(f"{name}_errors")
        if is_numeric(errors) and errors.shape == shape:
            yield f"{name}_errors", (axes, whole(errors))


def _texts_of(field: Any) -> Array | None:
    """Texts along an axis; None where a field is none."""
    found = plain(whole(field))
    return np.array(found).reshape(field.shape) if found is not None else None


def _units(group: Any, name: str) -> str:
    return str(plain(group[name].attrs.get("units")) or "")


def _long_name(group: Any, name: str) -> str:
    return str(plain(group[name].attrs.get("long_name")) or "")


def _told(group: Any) -> dict[str, Any]:
    """What the entry of an NXdata group says in single values, by their paths within it."""
    above = group
    while above.name != "/" and plain(above.attrs.get("NX_class")) != "NXentry":
        above = above.parent
    above = group if above.name == "/" else above
    found: dict[str, Any] = {}

    def take(name: str, each: Any) -> bool | None:
        if getattr(each, "size", 0) == 1 and each.dtype.kind in "biufSUO":
            value = plain(each[()] if each.ndim == 0 else np.ravel(each[...])[0])
            if value is not None:
                found[name.replace("/", ".")] = value
            units = plain(each.attrs.get("units"))
            if isinstance(units, str) and units and value is not None:
                found[f"{name.replace('/', '.')}.units"] = units
        return True if len(found) >= _MOST_TOLD else None

    above.visititems(take)
    return found


READER = Reader(
    name="nexus",
    title="NeXus with NXdata (.nxs, .h5)",
    extensions=(".nxs", ".nx", ".h5", ".hdf5"),
    claims=lambda path, head: holds(path, head, _is_nxdata),
    read=read,
    reaches_out=True,
)
