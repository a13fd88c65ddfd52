"""Why a step of a history cannot be run again."""

from __future__ import annotations

from collections.abc import Mapping

from usidx.explore.steps import HistoryStep, Place
from usidx.step import registered


def fault_of(step: HistoryStep, numbers: Mapping[Place, int]) -> str:
    """What keeps the step from being run again on its sources, in words; "" where nothing does.

    Parameters
    ----------
    numbers : of the history's steps by their places
    """
    if step.status == "missing":
        return f"it is not there any more: {step.note}"
    if step.version is None:
        program = step.program or "another program"
        return f"it was made by {program}, which usidx does not run"
    if step.place is None:
        return "it is a lazy result that was saved, whose operations no file keeps"
    if step.derived or not step.sources:
        return "it was made of an array that no store holds"
    lost = [name for name, each in step.inputs.items() if step.place_of(each) is None]
    if lost:
        return f"parameter {lost[0]!r} was an array that no store holds"
    behind = [each for each in step.sources if numbers[each] >= numbers[step.store, step.main]]
    if behind:
        return f"it was made of itself, by way of {behind[0][1]}"
    if not step.place.startswith("usidx.steps."):
        known = registered().get(str(step.tool))
        if known is None or (known.version, known.place) != (step.version, step.place):
            return (
                f"step {step.tool!r}, version {step.version!r}, defined in {step.place}, is "
                "not registered (usidx.steps.register)"
            )
    return ""
