"""Run the check of a store in a process of its own, with limits on its time and memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from usidx import errors
from usidx.errors import NotUsidError, UsidError
from usidx.model.rules import Findings, Violation
from usidx.stores import store_at
from usidx.stores.checking import check_store

# In these cases there is nothing that could be looked at.
_NOT_LOOKED_AT = (
    errors.StoreNotFoundError,
    errors.StoreAccessError,
    errors.StoreLockedError,
)
_MOST_REPORTED = 10_000
# The child imports what the parent would: the same places, in the same order.
_CHILD = (
    "import json, sys; request = json.loads(sys.argv[1]); sys.path[:] = request['sys_path']; "
    "from usidx.validating.contained import child; child(request)"
)


def check_here(path: str, allow_external: Sequence[str], *, values: bool) -> Findings:
    """What is found in this process; a store that cannot be opened is one error."""
    try:
        return check_store(path, tuple(allow_external), values=values)
    except _NOT_LOOKED_AT:
        raise
    except UsidError as error:
        return _refused(error)


def check_contained(
    path: str, allow_external: Sequence[str], *, values: bool, limit: float, memory: int
) -> Findings:
    """What a process of its own finds, or how that ended.

    Parameters
    ----------
    limit : seconds
    memory : bytes
    """
    try:
        store_at(path, allow_external)
    except NotUsidError as error:
        return _refused(error)
    request = {
        "path": path,
        "allow_external": list(allow_external),
        "values": values,
        "memory": memory,
        "sys_path": sys.path,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD, json.dumps(request)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        mend = "HDF5 may be caught in damaged metadata: get the original again"
        mend += "; give a large store that is read as a whole a longer limit"
        return _failed(f"a check that did not end within {limit:g} s", mend)
    if done.returncode:
        return _failed(_end_of(done.returncode, done.stderr), "get the original again")
    return _answer(json.loads(done.stdout.splitlines()[-1]))


def child(request: dict[str, Any]) -> None:
    """What the process of its own does: check, and write what was found to stdout as JSON."""
    import h5py  # noqa: F401  (what it takes by itself is none of the store's)

    _limit_memory(request["memory"])
    try:
        found = check_store(
            request["path"], tuple(request["allow_external"]), values=request["values"]
        )
        answer: dict[str, Any] = asdict(found)
        more = len(found.violations) - _MOST_REPORTED
        if more > 0:
            answer["violations"] = answer["violations"][:_MOST_REPORTED]
            answer["more"] = more
    except UsidError as error:
        answer = {"raised": type(error).__name__, "said": str(error)}
    except MemoryError:
        answer = {"raised": "MemoryError", "said": f"{request['memory']}"}
    sys.stdout.write(json.dumps(answer) + "\n")


def _limit_memory(memory: int) -> None:
    """Let this process take so many bytes more than it has, where the system can see to that."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    try:
        with open("/proc/self/statm", encoding="ascii") as lines:
            used = int(lines.read().split()[0]) * resource.getpagesize()
    except OSError:
        used = 2**32
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + memory
    if most == resource.RLIM_INFINITY or wanted < most:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _answer(answer: dict[str, Any]) -> Findings:
    raised = answer.get("raised")
    if raised == "MemoryError":
        mend = "give it more with memory=, if the store is as large as that; else get the original"
        return _failed(f"a check that took more than {answer['said']} bytes of memory", mend)
    if raised is not None:
        error: UsidError = getattr(errors, raised, UsidError)(answer["said"])
        if isinstance(error, _NOT_LOOKED_AT):
            raise error
        return _refused(error)
    violations = [Violation(**each) for each in answer["violations"]]
    if answer.get("more"):
        found = f"{answer['more']} violations more than are listed"
        violations.append(Violation("/", "note", found, "fewer", "mend the first ones"))
    return Findings(tuple(answer["mains"]), tuple(answer["results"]), tuple(violations))


def _end_of(status: int, said: bytes) -> str:
    """How a process with this exit status ended, in words."""
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        if name == "SIGKILL":
            return "a check that the system killed, most likely for its memory"
        return f"a crash of HDF5 while its metadata were read ({name})"
    last = said.decode("utf-8", "replace").strip().splitlines()
    return f"a check that failed ({last[-1] if last else f'exit status {status}'})"


def _failed(found: str, mend: str) -> Findings:
    return Findings(violations=(Violation("/", "error", found, "a store that can be read", mend),))


def _refused(error: UsidError) -> Findings:
    """The findings where a store is refused as a whole."""
    said = str(error)
    if isinstance(error, errors.UnsafeStoreError):
        mend = "do not open it with programs that have no such check; see allow_external"
        expected = "a store that keeps to itself, and ends"
    elif isinstance(error, errors.NotUsidError):
        mend, expected = "open it with the program that wrote it", "an h5USID file or USID-Zarr"
    else:
        mend, expected = "get the original again", "a store that can be read"
    return Findings(violations=(Violation("/", "error", said, expected, mend),))
