"""Run a function in a forked child, so that its death, or a hang, can be looked at."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Parameters
    ----------
    killed : by a signal
    result : what its function returned; None where it did not return
    trouble : an exception, a hang or a signal that was not ours, in words; "" for none
    """

    killed: bool
    result: Any
    trouble: str


def in_child(work: Callable[[], Any], *, timeout: float = 100.0) -> Ended:
    """What came of `work`, done in a forked child; its result must be plain enough for JSON."""
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        _do(work, reading, writing)
    os.close(writing)
    said, hung = _read(reading, timeout)
    if hung:
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    answer = json.loads(said) if said else {}
    killed = os.WIFSIGNALED(status)
    trouble = answer.get("trouble", "")
    if hung:
        trouble = f"hung for {timeout:g} s"
    elif killed and os.WTERMSIG(status) != signal.SIGKILL:
        trouble = f"died of signal {os.WTERMSIG(status)}"
    elif not killed and not said:
        trouble = f"ended with {status} and said nothing"
    return Ended(killed, answer.get("result"), trouble)


def fork() -> int:
    """`os.fork`, of which newer Pythons warn where other tests have left threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def import_all(names: Iterable[str]) -> None:
    """Import what a child needed, so that the next ones do not have to."""
    for name in names:
        if name not in sys.modules and not name.startswith("__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _do(work: Callable[[], Any], reading: int, writing: int) -> None:
    """Everything the child does; it never comes back."""
    os.close(reading)
    _forget_threads()
    try:
        answer = {"result": work()}
    except BaseException:
        answer = {"trouble": traceback.format_exc()}
    data = json.dumps(answer).encode()
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(writing, data) :]
    os._exit(0)


def _forget_threads() -> None:
    """Have dask make threads of its own: those of the parent are not in a fork of it."""
    threaded = sys.modules.get("dask.threaded")
    if threaded is not None:
        threaded.default_pool = None
        threaded.pools.clear()


def _read(reading: int, timeout: float) -> tuple[bytes, bool]:
    deadline = time.monotonic() + timeout
    said = b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return said, True
        part = os.read(reading, 65536)
        if not part:
            return said, False
        said += part
