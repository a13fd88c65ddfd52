"""Results that came into a store together with their source, from a store of another kind."""

from __future__ import annotations

from usidx.model.described import described
from usidx.model.provenance import SOURCE_LABELS, fingerprint
from usidx.process.planning.plan import Plan
from usidx.process.results.content import content_of, recorded_content
from usidx.readers import store_behind
from usidx.stores.base import ResultRecord


def came_along(plan: Plan, record: ResultRecord) -> bool:
    """Whether a group is what a plan makes, though the source is stored in another way by now.

    The identity of a Main has a sample of its bytes as they are stored. Where a source and its
    results were converted together, step, parameters, labels and the values themselves say instead
    that nothing has changed. That is for results of one source.
    """
    origin, labels = plan.source.origin, record.attrs.get(SOURCE_LABELS)
    told = recorded_content(record)
    if not labels or set(told) != {""} or origin is None or not plan.source.is_whole:
        return False
    if plan.inputs or plan.further or len(record.sources) != 1:
        return False
    asked = fingerprint(plan.tool, plan.version, plan.parameters, ())
    if asked != fingerprint(record.step, record.version or "", record.parameters, ()):
        return False
    if described(store_behind(origin).open_main(origin.main).spec) != labels:
        return False
    return content_of(plan) == dict(told)
