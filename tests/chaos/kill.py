"""Kill runs at random moments, and the workers of a cluster, and look at what they leave."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.chaos import looking, slow
from tests.chaos.children import fork, import_all, in_child
from tests.chaos.cluster_host import Host, cluster
from usidx.errors import UsidError
from usidx.stores import store_at
from usidx.stores.hdf5.transactions.superblock import read_superblock

SECONDS = 0.1
"""What a block takes."""
BLOCKS = slow.SHAPE[0] // slow.ROWS
"""Two of them are computed at once."""
WAYS = ("threads", "client", "worker", "all")
"""What is killed: a run on local threads, the process that uses a cluster, a worker, everything."""
CASES = tuple((source, name) for name in slow.STEPS for source in slow.SOURCES)
"""Each step on each source; results go into the store of the source."""


@dataclass
class Tally:
    """What came of all rounds.

    Parameters
    ----------
    rounds, kills : rounds, and processes that were killed in them
    in_work : rounds in which some but not all blocks were marked when the kill came
    before, after : rounds in which nothing was yet, or everything was marked already
    lost : marked positions that were computed again, or whose marks were gone
    wrong : marked blocks with other values than those of an undisturbed run; changed sources
    duplicated : result groups too many
    left : files, or reserved room, left behind in the end
    ways : rounds by what was killed, the source and the step
    trouble : anything else, in words
    """

    rounds: int = 0
    kills: int = 0
    in_work: int = 0
    before: int = 0
    after: int = 0
    lost: int = 0
    wrong: int = 0
    duplicated: int = 0
    left: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """How much was not as promised."""
        return self.lost + self.wrong + self.duplicated + self.left + len(self.trouble)


@dataclass(frozen=True)
class Undisturbed:
    """A source, and what comes out of a step where nobody interferes.

    Parameters
    ----------
    template : path of the source, which is copied for each round
    name : of the step
    source : digest of the source
    values : of the result
    duration : seconds of the run
    size : of the file in the end, None for a folder
    """

    template: str
    name: str
    source: str
    values: np.ndarray[Any, Any]
    duration: float
    size: int | None


def attack(
    folder: str,
    *,
    rounds: int,
    seed: int = 0,
    ways: tuple[str, ...] = WAYS,
    cases: Sequence[tuple[str, str]] = CASES,
    tell: Callable[[Tally], None] | None = None,
) -> Tally:
    """What comes of rounds of a run, a kill and a resumption each.

    Parameters
    ----------
    folder : to work in
    rounds : how many; three in ten have a cluster, where `ways` has those
    seed : of all chances
    ways : what is killed
    cases : names of a source and a step, one after the other
    tell : called now and then
    """
    chance = random.Random(seed)
    tally = Tally()
    os.environ["CHAOS_SECONDS"] = str(SECONDS)
    known = list(_undisturbed(folder, cases))
    remote = [each for each in ways if each != "threads"]
    host: Host | None = None
    with ExitStack() as stack:
        for number in range(rounds):
            way = chance.choice(remote) if number % 10 < 3 and remote else "threads"
            if way != "threads" and (host is None or not host.is_ready()):
                stack.close()
                host = stack.enter_context(cluster(SECONDS))
                host.is_ready()
            case = known[number % len(known)]
            _round(folder, case, way if way in ways else chance.choice(ways), host, chance, tally)
            if tell is not None and tally.rounds % 20 == 0:
                tell(tally)
    return tally


def _undisturbed(folder: str, cases: Sequence[tuple[str, str]]) -> Iterator[Undisturbed]:
    for source in dict.fromkeys(source for source, _ in cases):
        template = os.path.join(folder, source)
        _must(in_child(lambda path=template: slow.make_source(path)))  # type: ignore[misc]
        for name in [name for of, name in cases if of == source]:
            path = _copied(template, folder)
            import_all(_must(in_child(lambda p=path, n=name: _modules(p, n))))  # type: ignore[misc]
            path = _copied(template, folder)  # now that everything is imported
            start = time.monotonic()
            group = _must(in_child(lambda p=path, n=name: slow.run(p, n)))  # type: ignore[misc]
            duration = time.monotonic() - start
            values = looking.result_values(path, group)
            size = os.path.getsize(path) if os.path.isfile(path) else None
            yield Undisturbed(template, name, looking.source_digest(path), values, duration, size)


def _modules(path: str, name: str) -> list[str]:
    """What a run and a look at its result have to import."""
    import distributed  # noqa: F401

    group = slow.run(path, name)
    _partial_faults(path, Undisturbed(path, name, "", looking.result_values(path, group), 0, None))
    return list(sys.modules)


def _must(ended: Any) -> Any:
    if ended.trouble:
        raise RuntimeError(ended.trouble)
    return ended.result


def _copied(template: str, folder: str) -> str:
    path = os.path.join(folder, "killed", "scan" + os.path.splitext(template)[1])
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)
    os.mkdir(os.path.dirname(path))
    if os.path.isdir(template):
        shutil.copytree(template, path)
    else:
        shutil.copyfile(template, path)
    return path


def _round(
    folder: str, case: Undisturbed, way: str, host: Host | None, chance: random.Random, tally: Tally
) -> None:
    path = _copied(case.template, folder)
    log = os.path.join(folder, "log")
    pathlib.Path(log).write_bytes(b"")
    os.environ["CHAOS_LOG"] = log
    address = None if way == "threads" or host is None else host.address
    pid = fork()
    if pid == 0:
        _run_and_exit(path, case.name, address)
    # one in five at any time, the others at any time after the first block was begun
    if chance.random() > 0.2:
        _wait_for(log, pid)
        time.sleep(chance.uniform(0, 0.9 * BLOCKS / 2 * SECONDS))
    else:
        time.sleep(chance.uniform(0, case.duration))
    killed = _victims(way, pid, host, chance)
    for each in killed:
        os.kill(each, signal.SIGKILL)
    tally.kills += len(killed)
    if pid in killed:
        os.waitpid(pid, 0)
    marked = looking.marked_rows(path, case.name)
    share = 0 if marked is None else int(marked.sum())
    if pid not in killed:  # its workers come back
        _wait_to_end(pid, tally)
    elif address is not None:
        _wait_for_quiet(log)
    tally.rounds += 1
    place = f"{way}, {os.path.basename(case.template)}, {case.name}"
    tally.ways[place] += 1
    if share == 0:
        tally.before += 1
    elif share == slow.SHAPE[0] * slow.SHAPE[1]:
        tally.after += 1
    else:
        tally.in_work += 1
    _inspect(path, case, log, f"round {tally.rounds} ({place})", tally)


def _wait_to_end(pid: int, tally: Tally, timeout: float = 90.0) -> None:
    deadline = time.monotonic() + timeout
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() > deadline:
            tally.trouble.append(f"a run went on for {timeout:g} s after a worker was killed")
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    os.waitpid(pid, 0)


def _run_and_exit(path: str, name: str, address: str | None) -> None:
    try:
        if address is None:
            slow.run(path, name)
        else:
            from distributed import Client

            with Client(address) as client:
                slow.run(path, name, client)
    except UsidError:
        os._exit(3)
    finally:
        os._exit(0)


def _wait_for(log: str, pid: int) -> None:
    """Until the first block is being computed."""
    deadline = time.monotonic() + 30
    while not os.path.getsize(log) and time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.002)


def _wait_for_quiet(log: str) -> None:
    """Until workers that lost their client have done what they had begun."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 6 * SECONDS:
        if os.path.getsize(log) != size:
            size, since = os.path.getsize(log), time.monotonic()
        time.sleep(0.01)


def _victims(way: str, pid: int, host: Host | None, chance: random.Random) -> list[int]:
    workers = [] if host is None else host.pids()
    if way in ("threads", "client"):
        return [pid]
    if way == "worker":
        return [chance.choice(workers)] if workers else []
    return [pid, *workers]


def _inspect(path: str, case: Undisturbed, log: str, place: str, tally: Tally) -> None:
    """Look at what is left, go on, and look again; each in a child, as a new user has it."""
    before = in_child(lambda: _partial_faults(path, case))
    pathlib.Path(log).write_bytes(b"")
    after = in_child(lambda: _resumed_faults(path, case), timeout=120)
    for ended in (before, after):
        if ended.trouble:
            tally.trouble.append(f"{place}: {ended.trouble}")
            continue
        for kind, said in ended.result["faults"]:
            tally.trouble += [f"{place}: {said}"] if kind == "trouble" else []
            if kind != "trouble":
                setattr(tally, kind, getattr(tally, kind) + 1)
                tally.ways[f"{kind}: {place}: {said}"] += 1
    if before.result:
        done = set(before.result["done"])
        again = done & set(_logged(log))
        if again:
            tally.lost += 1
            tally.ways[f"lost: {place}: rows {sorted(again)} were computed again"] += 1


def _logged(log: str) -> list[int]:
    """The rows of the map that the pieces in the log began with, and those that follow in them."""
    first = slow.first_values()
    rows = []
    for line in pathlib.Path(log).read_text().splitlines():
        value, count = line.rsplit(" ", 1)
        named = value.removeprefix("row ")
        begin = first[float(value)] if named == value else int(named)
        rows += range(begin, begin + int(count))
    return rows


def _partial_faults(path: str, case: Undisturbed) -> dict[str, Any]:
    faults = []
    if looking.source_digest(path) != case.source:
        faults.append(("wrong", "the source has changed"))
    groups = looking.results_of(path)
    if len(groups) > 1:
        faults.append(("duplicated", f"there are {groups}"))
    marked = looking.marked_rows(path, case.name)
    rows: list[int] = []
    if marked is not None and marked.any():
        values = looking.result_values(path, groups[0])
        same = (values == case.values).reshape(*slow.SHAPE).all(axis=2)
        if not same[marked].all():
            faults.append(("wrong", f"{int((marked & ~same).sum())} marked positions are wrong"))
        rows = np.flatnonzero(marked.all(axis=1)).tolist()
    return {"faults": faults, "done": rows}


def _resumed_faults(path: str, case: Undisturbed) -> dict[str, Any]:
    group = slow.run(path, case.name)
    faults = []
    if looking.source_digest(path) != case.source:
        faults.append(("wrong", "resuming has changed the source"))
    groups = looking.results_of(path)
    if groups != [group]:
        faults.append(("duplicated", f"there are {groups}"))
    if looking.result_values(path, group).tobytes() != case.values.tobytes():
        faults.append(("wrong", "the resumed result is another one"))
    if store_at(path).result(group).status != "complete":
        faults.append(("trouble", "resumed, but not complete"))
    name = os.path.basename(path)
    beside = [each for each in os.listdir(os.path.dirname(path)) if each != name]
    inside = [str(each) for each in pathlib.Path(path).rglob("*.partial")]
    faults += [("left", f"{each} was left") for each in (*beside, *inside)]
    faults += [("left", each) for each in _tail(path, case)]
    return {"faults": faults, "done": []}


def _tail(path: str, case: Undisturbed) -> list[str]:
    if case.size is None:
        return []
    with open(path, "rb") as file:
        superblock = read_superblock(file.fileno())
    size = os.path.getsize(path)
    if superblock is None or superblock.end != size or size > case.size:
        return [f"the file has {size} bytes, HDF5 knows of {superblock}, it was {case.size}"]
    return []
