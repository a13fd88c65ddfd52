"""Memory of arrays stays with the process: fewer pages are asked for."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, sys
import numpy as np
from usidx.process.running.heap import keep_memory

if sys.argv[1] == "keep" and not keep_memory():
    print("no such library")
    raise SystemExit
for _ in range(400):
    np.ones(2**17).sum()  # 1 MiB, of which each page would be new
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True,
        env={"MALLOC_TRIM_THRESHOLD_": "65536", "PATH": ""},
    )  # fmt: skip
    return done.stdout.strip()


def test_pages_are_asked_for_once() -> None:
    kept = faults("keep")
    if kept == "no such library":
        return
    # 400 times 1 MiB are 102 400 pages of 4 KiB
    assert int(faults("as it is")) - int(kept) > 50_000
