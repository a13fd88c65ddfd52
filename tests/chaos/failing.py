"""A step that fails at some positions while it is interrupted: what is marked says so, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.chaos.subject import COLUMNS, GROUP, MAIN, fit_request, fit_values, keys
from usidx.stores import store_at

REASON = "ValueError: it did not converge"


def run(path: str) -> None:
    """The whole life of a result of which every third row fails."""
    store = store_at(path)
    rows = store.open_main(MAIN).spec.shape[0]
    with store.claim(replace(fit_request(rows=rows), failures=True)) as held:
        writer: Any = held.writers["Fit"]
        for key in keys(rows):
            writer.write(key, fit_values(key[0].start))
            if key[0].start % 3 == 1:
                numbers = np.zeros((1, COLUMNS), np.uint8)
                numbers[0, ::2] = 1
                writer.fail(key, numbers, [REASON])
            writer.mark(key)
        held.complete()


def faults(path: str) -> list[str]:
    """Rows that are marked, and do not say what they should."""
    store = store_at(path)
    if not store.results(MAIN):
        return []
    main = store.open_main(f"{GROUP}/Fit")
    if main.failures is None:  # nowhere, then
        numbers, reasons = np.zeros(main.spec.position.shape, np.uint8), ()
    else:
        numbers, reasons = np.asarray(main.failures.numbers[:, :]), main.failures.reasons
    done = np.ones(numbers.shape, bool) if main.completed is None else main.completed[:, :]
    found = []
    for row in np.flatnonzero(done.all(axis=1)):
        failed = numbers[row] != 0
        expected = np.arange(COLUMNS) % 2 == 0 if row % 3 == 1 else np.zeros(COLUMNS, bool)
        if not np.array_equal(failed, expected):
            found.append(f"row {row} is marked, but says that {failed.sum()} positions failed")
        told = {reasons[number - 1] for number in numbers[row][failed]}
        if told - {REASON}:
            found.append(f"row {row} failed for {told}")
    return found
