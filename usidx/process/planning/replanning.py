"""The same plan again, in other blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from usidx.process.planning.plan import Plan


class Replan(Protocol):
    """Makes the same plan again, in blocks of another size."""

    def __call__(
        self,
        *,
        memory: int | None = None,
        workers: int = 1,
        blocks: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Plan: ...
