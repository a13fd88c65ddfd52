"""Result groups of other programs, pyUSID above all, that are what a plan would make.

Such a group has no fingerprint. pyUSID takes it for the same where it is called `<Main>-<Tool>_NNN`
and every parameter equals the attribute of that name, roughly, whatever else there is. Here, too,
name and parameters decide, exactly: the tool's name is that name, each parameter equals its
attribute to the bit, and there is no other attribute but book-keeping. Parameters that are None
stand in no file. Who wrote the group knew of no versions, so that the step's is not compared.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from usidx.errors import PlanError, UsidError
from usidx.model.provenance import canonical, fingerprint
from usidx.process.planning.plan import Output, Plan
from usidx.stores.base import ResultRecord, Store, StoredMain

if TYPE_CHECKING:
    from usidx.process.planning.replanning import Replan

Names = Mapping[str, str]
"""The name of the Main in a group for each output of a plan, by its name."""


def is_foreign(record: ResultRecord) -> bool:
    """Whether another program made the group."""
    return record.fingerprint is None and record.version is None


def foreign_twins(
    plan: Plan, store: Store, known: Iterable[ResultRecord]
) -> tuple[ResultRecord, ...]:
    """Groups of other programs in a store that are what the plan makes, oldest first.

    Parameters
    ----------
    known : the results that the store has of the source
    """
    # which other sources another program had, nothing says
    if plan.step is None or plan.source.origin is None or plan.inputs:
        return ()
    found = {each.group: each for each in known}
    found.update({each.group: each for each in _elsewhere(plan, store)})
    return tuple(each for each in found.values() if _is_twin(plan, store, each))


def _elsewhere(plan: Plan, store: Store) -> Iterator[ResultRecord]:
    """Groups in another store than that of the source which say that they come from it.

    pyUSID puts them anywhere.
    """
    origin = plan.source.origin
    if origin is None or _is_same(origin.store, store.path):
        return
    groups = [each.path.rpartition("/")[0] for each in store.candidates() if each.kind == "result"]
    for group in dict.fromkeys(groups):
        with contextlib.suppress(UsidError):
            record = store.result(group)
            if record.main == plan.source.name and _comes_from(record, origin.store, origin.main):
                yield record


def _comes_from(record: ResultRecord, store: str, main: str) -> bool:
    return any(_is_same(where, store) and path == main for where, path in record.sources)


def _is_same(left: str, right: str) -> bool:
    return os.path.realpath(left) == os.path.realpath(right)


def _is_twin(plan: Plan, store: Store, record: ResultRecord) -> bool:
    return (
        is_foreign(record)
        and record.tool == plan.tool
        and record.status != "unknown"
        and same_parameters(plan.parameters, record.parameters)
        and names_in(plan, store, record) is not None
    )


def same_parameters(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether all parameters are the same, but for those that are None.

    Numbers are equal whatever their types, lists and arrays whose numbers are, and NaN and NaN.

    Examples
    --------
    >>> same_parameters({"gain": 3, "mode": "mean", "mask": None}, {"mode": "mean", "gain": 3.0})
    True
    >>> same_parameters({"gain": 3}, {"gain": 3.0000001}), same_parameters({}, {"gain": 3.0})
    (False, False)
    """
    try:
        sides = [
            canonical({name: value for name, value in each.items() if value is not None})
            for each in (ours, theirs)
        ]
    except PlanError:  # an attribute that is no parameter of ours, whatever it is
        return False
    one, other = (fingerprint("", "", each, ()) for each in sides)
    return one == other


def names_in(plan: Plan, store: Store, record: ResultRecord) -> Names | None:
    """The Main of a group for each output of a plan; None where they do not fit.

    They go by their names. A single output may have any name: then it is the Main that fits and is
    not complete, or the only one. Nothing may be left over that is not complete.
    """
    try:
        mains = {each.spec.name: each for each in map(store.open_main, record.mains)}
    except UsidError:
        return None
    names = {each.name: each.name for each in plan.outputs}
    if not set(names) <= set(mains) and len(plan.outputs) == 1:
        (output,) = plan.outputs
        fitting = [name for name, main in mains.items() if _fits(output, main)]
        pending = [name for name in fitting if not _is_complete(mains[name])]
        if len(pending or fitting) != 1:
            return None
        names = {output.name: (pending or fitting)[0]}
    if not all(name in mains for name in names.values()):
        return None
    fit = all(_fits(each, mains[names[each.name]]) for each in plan.outputs)
    left = [main for name, main in mains.items() if name not in names.values()]
    return names if fit and all(map(_is_complete, left)) else None


def _fits(output: Output, main: StoredMain) -> bool:
    ours, theirs = np.dtype(output.spec.dtype), main.spec.dtype
    same_fields = ours.names == theirs.names
    return (
        output.spec.shape == main.spec.shape
        and same_fields
        and np.can_cast(ours, theirs, "same_kind")
    )


def _is_complete(main: StoredMain) -> bool:
    if main.result is not None and main.result.status == "complete":
        return True
    if main.completed is None:
        return False
    done = main.completed[(slice(None),) * main.completed.ndim]
    return bool(np.all(done)) and math.prod(done.shape) > 0


def adopted(plan: Plan, replan: Replan, store: Store, record: ResultRecord) -> tuple[Plan, Replan]:
    """The plan, and what makes it again, with outputs called as the Mains of the group are.

    Raises
    ------
    PlanError : where the group is not what the plan makes
    """
    if not same_parameters(plan.parameters, record.parameters):
        raise PlanError(
            f"{record.name!r} was made with {_told(record.parameters)}, which are not the "
            f"parameters of {plan.tool!r}, {_told(plan.parameters)}; a run makes a new group"
        )
    names = names_in(plan, store, record)
    if names is None:
        made = ", ".join(f"{each.name} {each.spec.shape}" for each in plan.outputs)
        there = ", ".join(path.rsplit("/", 1)[-1] for path in record.mains)
        raise PlanError(
            f"{record.name!r} has the Mains {there or '(none)'}, which {plan.tool!r} does not go "
            f"on with: it makes {made}. A run of it makes a new group"
        )

    def again(
        *,
        memory: int | None = None,
        workers: int = 1,
        blocks: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Plan:
        back = {theirs: ours for ours, theirs in names.items()}
        cut = {back.get(name, name): shape for name, shape in (blocks or {}).items()}
        return _renamed(replan(memory=memory, workers=workers, blocks=cut or None), names)

    return _renamed(plan, names), again


def _renamed(plan: Plan, names: Names) -> Plan:
    outputs = tuple(
        replace(each, spec=replace(each.spec, path=f"/{names[each.name]}")) for each in plan.outputs
    )
    return replace(plan, outputs=outputs)


def _told(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items()) or "none"
