"""The other Mains that a lazy result was made of, beside the one that it goes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from usidx.arrays.origin import Origin, origins_in
from usidx.errors import PlanError
from usidx.process.planning.identity import Labelled, Source, identify
from usidx.readers import store_behind


def further_sources(
    source: Labelled, result: Labelled, told: Sequence[Labelled]
) -> tuple[Source, ...]:
    """The Mains that `result` was made of beside `source`: those told, and those in its graph.

    Raises
    ------
    PlanError : for one that no store holds, or that is a result which is not complete yet
    """
    first = identify(source)
    known = {_place(each) for each in first.mains}
    found: dict[tuple[str, str], Source] = {}
    for number, each in enumerate(told):
        one = identify(each)
        if one.origin is None:
            raise PlanError(
                f"sources[{number}], {one.name!r}, is not a whole, untouched Main of a store, so "
                "no result can refer to it; give what usidx.open gave, or leave it out: the result "
                "is known by its operations all the same"
            )
        found[_place(one.origin)] = one
    for one in _in_graph(result):
        assert one.origin is not None
        found.setdefault(_place(one.origin), one)
    return tuple(one for place, one in found.items() if place not in known)


def _in_graph(result: Labelled) -> Iterator[Source]:
    for origin in origins_in(result):
        if origin.result is not None:
            _check_complete(origin)
        yield Source(origin.main.rsplit("/", 1)[-1], origin.identity, origin)


def _check_complete(origin: Origin) -> None:
    store = store_behind(origin)
    stored = store.open_main(origin.main)
    if stored.completed is None or stored.result is None or stored.result.status != "partial":
        return
    done = stored.completed[(slice(None),) * stored.completed.ndim]
    if not done.all():
        raise PlanError(
            f"the result was made of {origin.main!r}, a result that is not complete: what is "
            "missing of it is NaN, and would be in this one. Complete it first (its group's "
            ".resume()) and open it again"
        )


def _place(origin: Origin) -> tuple[str, str]:
    return origin.store, origin.main
