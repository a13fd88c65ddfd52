"""What an older result has of a new one, whose source is the same measurement with more rows.

A step that needs no other row for the old ones, as one that acts on each position alone, makes of
these what it made of them before. So the blocks of a new group that lie in the old rows are copied,
and only what is new is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.lazy import stored_of, to_dask
from usidx.errors import UsidError
from usidx.model.blocks import Block
from usidx.model.dimension import same_values
from usidx.model.layout import Grid, Layout
from usidx.process.planning.code import code_digest
from usidx.process.planning.outputs import drafts_of
from usidx.process.planning.plan import Output, Plan
from usidx.process.results.adopt import same_parameters
from usidx.process.results.content import digest_of, recorded_content
from usidx.process.running.work import Commit
from usidx.stores.base import Claim, ResultRecord, Store, StoredMain
from usidx.stores.remote.url import is_there

# Attribute of a group: the path of the one that the values of its first rows were copied from.
ATTRIBUTE = "usid_first_rows"

log = logging.getLogger("usidx")


@dataclass(frozen=True)
class Earlier:
    """A result of the first rows of a source.

    Parameters
    ----------
    group : path of it
    mains : of it, by the names of the outputs
    """

    group: str
    mains: Mapping[str, StoredMain]

    def fill(self, plan: Plan, claim: Claim) -> None:
        """Copy to a new group the blocks that are done here, and mark them."""
        count = 0
        for output in plan.outputs:
            main = self.mains[output.name]
            for block in output.blocks():
                if block.key[0].stop > main.spec.shape[0]:
                    break  # rows come in their order, and all others are new
                if not _is_done(main, block, output.n_position):
                    continue
                commit = Commit(
                    output.name, claim.writers[output.name], block.key, output.n_position
                )
                commit(main.array[block.key])
                count += commit.positions
        log.info("%d positions of %s are those of %s", count, claim.group, self.group)


def earlier_of(plan: Plan, store: Store) -> Earlier | None:
    """The newest result in a store of the first rows of what a plan makes; None for none.

    It has the same step, version, code and parameters, and was made of the values that the first
    rows of the source have now.
    """
    origin = plan.source.origin
    if plan.step is None or plan.inputs or plan.further:
        return None
    if origin is None or not plan.source.is_whole or not is_there(store.path):
        return None
    for record in reversed(store.results(plan.source.path)):
        if not _is_same_step(plan, record):
            continue
        try:
            mains = {each.spec.name: each for each in map(store.open_main, record.mains)}
            if not all(_begins(each, mains.get(each.name)) for each in plan.outputs):
                continue
            first = mains[plan.outputs[0].name].spec.position
            if all(each.block[0] > first.shape[0] for each in plan.outputs):
                continue  # no block lies in these rows alone
            if not _needs_no_more(plan, first.shape[0]):
                return None
            if recorded_content(record) == {"": digest_of(origin, first)}:
                return Earlier(record.group, mains)
        except UsidError as error:  # it is computed instead
            log.info("%s cannot be gone on from: %s", record.group, error)
    return None


def _is_same_step(plan: Plan, record: ResultRecord) -> bool:
    assert plan.step is not None
    return (
        (record.step, record.version) == (plan.tool, plan.version)
        and record.attrs.get("usid_step_code") == code_digest(plan.step.function)
        and not record.failed
        and same_parameters(plan.parameters, record.parameters)
    )


def _begins(output: Output, main: StoredMain | None) -> bool:
    """Whether an output begins with the rows of a Main, and is the same but for their number."""
    if main is None:
        return False
    new, old = output.spec, main.spec
    return (
        (new.dtype, new.quantity, new.units) == (old.dtype, old.quantity, old.units)
        and new.spectroscopic == old.spectroscopic
        and _is_longer(new.position, old.position)
    )


def _is_longer(new: Layout, old: Layout) -> bool:
    if not isinstance(new, Grid) or not isinstance(old, Grid) or new.dims != old.dims:
        return False
    count = old.shape[0]
    slowest = new.dimensions[0].values[:count], old.dimensions[0].values
    return (
        count < new.shape[0] and same_values(*slowest) and new.dimensions[1:] == old.dimensions[1:]
    )


def _needs_no_more(plan: Plan, count: int) -> bool:
    """Whether the values that a step makes of the first `count` rows need no other row.

    A step promises it; of those of usidx, which compute nothing before they are asked to, the tasks
    tell: the source is cut behind these rows, and the part behind is not among what is needed.
    """
    step, source = plan.step, plan.labelled
    assert step is not None
    if step.per_position:
        return True
    if not step.place.startswith("usidx.steps.") or not isinstance(source, xr.DataArray):
        return False
    array = stored_of(source.data)
    if array is None:
        return False
    rows = (count, source.shape[0] - count)
    lazy = to_dask(array, (rows, *((size,) for size in source.shape[1:])), name=str(source.name))
    made = step(source.copy(data=lazy), **plan.arguments)
    for draft in drafts_of(made, plan.tool):
        values = draft.values((rows, *((size,) for size in draft.spec.shape[1:])))
        first = (values.name, *(0 for _ in values.shape))
        graph: Any = values.__dask_graph__()
        needed = (key for key in graph.cull({first}) if isinstance(key, tuple))
        if any(key[0] == lazy.name and key[1] for key in needed):
            return False
    return True


def _is_done(main: StoredMain, block: Block, n_position: int) -> bool:
    return main.completed is None or bool(np.all(main.completed[block.key[:n_position]]))
