"""How far a result is, in words."""

from __future__ import annotations

from usidx.stores.base import ResultRecord


def progress_of(record: ResultRecord) -> str:
    """ "complete", or how much is done and how to go on; and how often the step failed."""
    failed = f", {record.failed} failed" if record.failed else ""
    if record.status != "partial":
        more = ", see .failed; .resume(retry_failed=True) tries again" if failed else ""
        return f"{record.status}{failed}{more}"
    return f"{share_of(record)} % done{failed}, .resume() goes on"


def share_of(record: ResultRecord) -> int:
    """Per cent of the positions that are done, rounded down."""
    return 100 * record.done // record.total if record.total else 0
