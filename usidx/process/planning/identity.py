"""What the source of a process is: a Main in a store, or an array that nobody stored.

An array made from a Main by any operation is no longer that Main. To call it by the Main's name
would let a result of `2 * da` pass for one of `da`, so such an array is known by its dask graph,
and its results never go beside the Main on their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from usidx.arrays.origin import Origin, origin_of, origins_in
from usidx.errors import PlanError

Labelled = xr.DataArray | xr.Dataset


@dataclass(frozen=True)
class Source:
    """The source of a process, as its results record it.

    Parameters
    ----------
    name : in the names of result groups, "Raw_Data"
    identity : what its fingerprint is made of
    origin : the Main that the array is, None where it is not the whole of one, untouched
    made_of : the Mains that a lazy array which is none was made of, as far as its graph tells
    """

    name: str
    identity: str
    origin: Origin | None
    made_of: tuple[Origin, ...] = ()

    @property
    def mains(self) -> tuple[Origin, ...]:
        """The Mains whose values are in it."""
        return self.made_of if self.origin is None else (self.origin,)

    @property
    def parent(self) -> str:
        """Path of the group that results go to."""
        if self.origin is None:
            return "/Measurement_000/Channel_000"
        return self.origin.main.rsplit("/", 1)[0] or "/"

    @property
    def path(self) -> str:
        """Path of the Main that results are results of."""
        return f"{self.parent.rstrip('/')}/{self.name}"

    @property
    def is_whole(self) -> bool:
        """Whether dimensions and values are those of the Main in its store, one to one."""
        return self.origin is not None and self.origin.form == "nd"


def identify(obj: Labelled) -> Source:
    """The Source that an array is.

    Raises
    ------
    PlanError : for a result that is not complete yet
    """
    origin = origin_of(obj)
    # What was selected of it is known by its marks too, through the graph.
    if origin is not None and obj.attrs.get("usid_status") == "partial":
        raise PlanError(
            f"{origin.main!r} is a result that is not complete: what is missing of it is NaN, and "
            "would be in results of it. Complete it first (its group's .resume()) and open it "
            "again, or take a part that is there, with isel(...), and give run(into=...)"
        )
    if origin is None:
        return Source(_name(obj), f"derived:{token_of(obj)}", None, origins_in(obj))
    parts = [origin.identity, origin.field or "", "" if origin.form == "nd" else origin.form]
    identity = "|".join(parts) if any(parts[1:]) else origin.identity
    if origin.lineage:
        identity += f"|result:{origin.lineage}"
    return Source(origin.main.rsplit("/", 1)[-1], identity, origin)


def opened_in(source: Source, chunks: Mapping[str, int | tuple[int, ...]]) -> Labelled:
    """The Main that the source is, opened in other blocks."""
    from usidx.opening import open as open_main

    assert source.origin is not None
    origin = source.origin
    opened = open_main(
        origin.store,
        origin.main,
        chunks=dict(chunks),
        form=origin.form,
        allow_external=origin.allow_external,
        **dict(origin.opened_with),
    )
    return opened if origin.field is None else opened[origin.field]


def is_lazy(obj: Labelled) -> bool:
    """Whether all values are dask's."""
    if isinstance(obj, xr.DataArray):
        return obj.chunks is not None
    return all(each.chunks is not None for each in obj.data_vars.values())


def token_of(obj: Labelled) -> str:
    """dask's token of a lazy array: the same for the same operations on the same stored values.

    Where dask cannot tell (random numbers, objects without a content it knows) it is another one
    each time, so that nothing is taken for a twin that may be none.
    """
    from dask.base import tokenize

    return str(tokenize(obj))


def _name(obj: Labelled) -> str:
    if isinstance(obj, xr.DataArray):
        name = obj.name
    else:
        name = obj.attrs.get("usid_main")
    # it becomes part of a group's name
    return str(name).replace("/", "_").strip() if name else "Array"
