"""A LocalCluster in a process of its own, which tells the ids of its workers: they get killed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Host:
    """The cluster, as who started it has it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = str(self._ask("address"))

    def pids(self) -> list[int]:
        """Of the workers that live now."""
        return [int(each) for each in self._ask("pids")]

    def is_ready(self, timeout: float = 30.0) -> bool:
        """Whether both workers are there, within some seconds.

        One that is killed while it begins is not started again.
        """
        deadline = time.monotonic() + timeout
        while self._ask("workers") != 2:
            if time.monotonic() > deadline or not self.pids():
                return False
            time.sleep(0.05)
        return True

    def _ask(self, what: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def cluster(seconds: float) -> Iterator[Host]:
    """A cluster of two workers, whose steps take `seconds` for a block."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHAOS_SECONDS": str(seconds)}
    environment.pop("LD_PRELOAD", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.cluster_host"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Host(process)
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """Answer questions on the standard input, until there are no more."""
    from distributed import LocalCluster

    logging.disable(logging.CRITICAL)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as local:
        for line in sys.stdin:
            known = {
                "address": lambda: local.scheduler_address,
                "pids": lambda: [each.pid for each in local.workers.values() if each.pid],
                "workers": lambda: len(local.scheduler.workers),
            }
            sys.stdout.write(json.dumps(known[line.strip()]()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
