"""What blocks share that is too much for a summary, and is in memory until the last of them.

Maps that are transformed are each needed by all blocks of spectra: the first of these is there when
the last map is, and no map can go before the last block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.process.planning.budget import in_text
from usidx.process.planning.graphs import describe
from usidx.process.planning.neighbours import graphs_of
from usidx.process.planning.plan import Plan


def held_by(plan: Plan) -> int:
    """Bytes of what the first block of a plan and the last both need, as it goes into the first.

    By the chunks of lazy arrays, as dask notes them; what is delayed has no size that is known.
    """
    from dask._task_spec import Alias, DataNode

    if plan.apart or (plan.step is not None and plan.step.per_position):
        return 0
    most = 0
    for output in plan.outputs:
        counts = [-(-n // part) for n, part in zip(output.spec.shape, output.block, strict=True)]
        ends = [(output.prefix, *places) for places in ([0] * len(counts), [n - 1 for n in counts])]
        if math.prod(counts) < 2:
            continue
        one, other = graphs_of(plan, [[key] for key in ends])
        shared = one.keys() & other.keys()
        own = (node for key, node in one.items() if key not in shared)
        used = {key for node in own for key in node.dependencies & shared}
        layers = describe(plan, ends).merged.layers
        kept = (key for key in used if not isinstance(one[key], (Alias, DataNode)))
        most = max(most, sum(_bytes(key, layers) for key in kept))
    return most


def check_held(plan: Plan, memory: int) -> None:
    """Nothing, where what blocks share fits into `memory` bytes.

    Raises
    ------
    PlanError : with what does
    """
    held = held_by(plan)
    if held > memory:
        raise PlanError(
            f"every block of {plan.tool!r} needs {in_text(held)} that are made of all of "
            f"{plan.source.name!r}, and stay in memory until the last block is written, more than "
            f"memory={memory} bytes; give memory='{in_text(held + memory)}', compute some of the "
            "spectroscopic values at a time (array.isel(...)), or use the workers of a cluster"
        )


def _bytes(key: Any, layers: Mapping[str, Any]) -> int:
    """Of the chunk that a key is of an array; 0 where it is of none."""
    name, *place = key if isinstance(key, tuple) else (key,)
    noted = getattr(layers.get(name), "collection_annotations", None) or {}
    chunks, dtype = noted.get("chunks"), noted.get("dtype")
    if chunks is None or dtype is None or len(chunks) != len(place):
        return 0
    sizes = [along[at] for along, at in zip(chunks, place, strict=True)]
    return int(math.prod(sizes) * np.dtype(dtype).itemsize)
