"""What HyperSpy learned of a signal, kept in its files beside it: components and their loadings.

They are Mains of the kind "result", as usidx lays out its own: "Loadings" over positions, and
"Components" over the spectroscopic axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from usidx.readers.base import Axis, Foreign, position, spectroscopic
from usidx.readers.hierarchies import flattened
from usidx.readers.scans import SyncedArray
from usidx.stores.base import BlockArray

LEARNING = "learning_results"
# Its names for the parts, and what the result is called here.
_TOOLS = {"": "Decomposition", "bss_": "Separation"}
_COMPONENT = "Component"

Values = Callable[[str, str], tuple[BlockArray, tuple[int, ...] | None]]


def learning_attrs(group: Any) -> dict[str, Any]:
    """How a signal was decomposed, as attributes: "learning_results.decomposition_algorithm"."""
    if LEARNING not in group:
        return {}
    known = {f"{prefix}{part}" for prefix in _TOOLS for part in ("factors", "loadings")}
    return {
        f"{LEARNING}.{name}": value
        for name, value in flattened(group[LEARNING]).items()
        if name not in known and not (isinstance(value, str) and value == "_None_")
    }


def learned(main: Foreign, path: str, place: str, values: Values) -> Sequence[Foreign]:
    """Components and loadings that lie beside a signal, [] where there are none.

    Parts that do not go with the axes of the signal are left out: of a signal that was cropped
    after it was decomposed, say.

    Parameters
    ----------
    main : the signal
    path, place : of the file, and of what was learned in it
    values : (path, place in the file) -> (values, chunks)

    Raises
    ------
    KeyError : where the file has no such place
    """
    sides: dict[str, tuple[str, list[Axis], Axis]] = {}
    for part, title, role, make in (
        ("loadings", "Loadings", "position", spectroscopic),
        ("factors", "Components", "spectroscopic", position),
    ):
        axes = [each for each in main.axes if each.role == role]
        sides[part] = title, axes, make(_COMPONENT, size=1)
    found = []
    for prefix, tool in _TOOLS.items():
        for part, (title, axes, component) in sides.items():
            try:
                array, _ = values(path, f"{place}/{prefix}{part}")
            except KeyError:
                continue
            shape = tuple(each.dimension.size for each in axes)
            if not shape or array.ndim != 2 or array.shape[0] != math.prod(shape):
                continue
            make = spectroscopic if component.role == "spectroscopic" else position
            found.append(
                Foreign(
                    name=f"{main.path}-{tool}_000/{title}",
                    array=SyncedArray(array, shape, 0, 0, array.dtype),
                    axes=(*axes, make(_COMPONENT, size=array.shape[1])),
                    quantity=title,
                    kind="result",
                )
            )
    return found
