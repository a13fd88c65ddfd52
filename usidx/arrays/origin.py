"""Where an untouched array came from: the Main it is, as long as nobody computed anything on it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import xarray as xr

from usidx.arrays.lazy import stored_array
from usidx.arrays.positions import LazyColumn

KEY = "usid_origin"


@dataclass(frozen=True)
class Origin:
    """The Main that an array is.

    Parameters
    ----------
    store : path of the store
    main : path of the Main within it
    identity : digest of the Main, as the store gave it
    graph : name of the dask graph, by which an array is known to be untouched
    field : of a compound Main, the field that the array holds; None for the whole Main
    form : whether the array is N-D or has the two dimensions of the file
    result : path of the result group that the Main belongs to, None for any other Main
    allow_external : folders that the store may reach into, as was said when it was opened
    lineage : fingerprint of that result group, "" where it has none
    opened_with : further arguments of `usidx.open`, as (name, value), that it was opened with
    """

    store: str
    main: str
    identity: str
    graph: str = ""
    field: str | None = None
    form: Literal["nd", "2d"] = "nd"
    result: str | None = None
    allow_external: tuple[str, ...] = ()
    lineage: str = ""
    opened_with: tuple[tuple[str, Any], ...] = ()


# The Mains that were opened, by the names that dask has for their values. An array made of some of
# them keeps those names in its graph; it is a matter of this session, and of the last ones opened.
_opened: OrderedDict[str, Origin] = OrderedDict()
_MOST_OPENED = 10_000


def mark_origin(obj: xr.DataArray | xr.Dataset, origin: Origin) -> None:
    """Write down in `obj.encoding` that it is the Main `origin`, as it stands now."""
    if isinstance(obj, xr.Dataset):
        for name, variable in obj.data_vars.items():
            mark_origin(variable, replace(origin, field=str(name)))
    obj.encoding[KEY] = replace(origin, graph=_graph_name(obj))
    if isinstance(obj, xr.DataArray) and obj.chunks is not None:
        _opened[_stored_name(obj)] = obj.encoding[KEY]
        while len(_opened) > _MOST_OPENED:
            _opened.popitem(last=False)


def origin_of(obj: xr.DataArray | xr.Dataset) -> Origin | None:
    """The Main that `obj` is, whole and untouched; None as soon as anything was computed on it.

    Selecting, arithmetic and the like give another dask graph, by which this is known. The values
    of an array that is not lazy can be changed in place, so that it has no origin.
    """
    origin = obj.encoding.get(KEY)
    if not isinstance(origin, Origin) or not origin.graph or origin.graph != _graph_name(obj):
        return None
    return origin


def origins_in(obj: xr.DataArray | xr.Dataset) -> tuple[Origin, ...]:
    """The Mains that a lazy array was made of, each once, by store and path.

    They are told by the layers of its dask graph. One that was made in another session, persisted
    or optimised does not show them.
    """
    found = {(each.store, each.main): each for each in _origins(obj)}
    return tuple(found[place] for place in sorted(found))


def _origins(obj: xr.DataArray | xr.Dataset) -> Iterator[Origin]:
    variables = list(obj.data_vars.values()) if isinstance(obj, xr.Dataset) else [obj]
    for each in variables:
        graph = getattr(each.variable._data, "dask", None)
        for layer in getattr(graph, "layers", ()):
            if layer in _opened:
                yield _opened[layer]


def _graph_name(obj: xr.DataArray | xr.Dataset) -> str:
    """What tells one lazy object from any other, "" where it is not lazy.

    That is the name of its dask graph, and a digest of its labels: an array with other
    coordinates or units is another measurement, though its values are the same.
    """
    if isinstance(obj, xr.Dataset):
        names = [(str(name), _stored_name(each)) for name, each in obj.data_vars.items()]
        graph = ";".join(f"{name}={stored}" for name, stored in names)
        lazy = bool(names) and all(stored for _, stored in names)
    else:
        graph = _stored_name(obj)
        lazy = bool(graph)
    return f"{graph}@{_label_digest(obj)}" if lazy else ""


def _stored_name(array: xr.DataArray) -> str:
    # Asking for .data would read an array that is lazy without dask.
    stored: Any = array.variable._data
    return str(stored.name) if hasattr(stored, "dask") else _token(array.variable)


def _token(variable: xr.Variable) -> str:
    """What tells apart values that xarray has yet to read, "" for values in memory."""
    from dask.base import tokenize

    if isinstance(variable._data, LazyColumn):
        return str(tokenize(variable._data))
    stored = stored_array(variable)
    return "" if stored is None else str(tokenize(stored.__dask_tokenize__()))


def _label_digest(obj: xr.DataArray | xr.Dataset) -> str:
    from dask.base import tokenize

    labels: list[Any] = [
        (name, each.dims, each.attrs.get("units"), _token(each.variable) or each.values)
        for name, each in sorted(obj.coords.items(), key=lambda item: str(item[0]))
    ]
    own = (obj.dims, obj.attrs.get("units"), obj.attrs.get("quantity"))
    return str(tokenize(own, labels))
