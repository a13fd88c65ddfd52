"""Results made, written, interrupted, gone on with and deleted in any order, against a model.

A crash is a real one: a child is killed at one of its changes of the disk, with half of a write
done or none. What it had marked must be right, and whatever the model knows of must still be there.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.chaos import subject, zarr_subject
from tests.chaos.children import in_child
from usidx.errors import MainNotFoundError, PlanError, StoreLockedError
from usidx.stores import disk, store_at
from usidx.stores.base import Claim, Store
from usidx.stores.deleting import delete_group

ROWS = zarr_subject.ROWS
CHANGES = ("write_at", "truncate", "reserve", "sync", "replace", "exchange", "remove")


@dataclass
class Known:
    """What the model knows of a group: the positions that are marked, and if it is complete."""

    marked: set[int] = field(default_factory=set)
    complete: bool = False


def key_of(row: int) -> tuple[slice, ...]:
    return slice(row, row + 1), slice(0, subject.COLUMNS), slice(0, subject.PARAMETERS)


def positions_of(row: int) -> range:
    """Positions of one row of the map, counted over all of it."""
    return range(row * subject.COLUMNS, (row + 1) * subject.COLUMNS)


def observed(store: Store) -> dict[str, Known]:
    """What a store says of its results; raises where what is marked is not right."""
    found = {}
    for record in store.results(subject.MAIN):
        main = store.open_main(f"{record.group}/Fit")
        shape = ROWS, subject.COLUMNS
        done = np.ones(shape, bool) if main.completed is None else main.completed[:, :]
        for row in np.flatnonzero(done.any(axis=1)):
            values = main.array[row : row + 1, :, :][:, done[row]]
            np.testing.assert_array_equal(values, subject.fit_values(row)[:, done[row]])
        marked = set(np.flatnonzero(done).tolist())
        complete = record.status == "complete" and record.attrs.get("usid_status") == "complete"
        found[record.group] = Known(marked, complete)
    return found


def die_at(change: int, torn: bool) -> None:
    """Let this process be killed at one of its next changes of the disk."""
    left = change

    def counted(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                if torn and name == "write_at":
                    descriptor, data, offset = arguments
                    whole = bytes(data)
                    real(descriptor, whole[: len(whole) // 2], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        return call

    for name in CHANGES:
        setattr(disk, name, counted(getattr(disk, name), name))


class Results(RuleBasedStateMachine):
    """One store, of which one process makes results while others die."""

    ending = ".h5"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.path = os.path.join(self.folder, "scan" + self.ending)
        self.model: dict[str, Known] = {}
        self.claims: dict[str, Claim] = {}

    @initialize()
    def make(self) -> None:
        if self.ending == ".h5":
            subject.make_scan(self.path, rows=ROWS)
        else:
            zarr_subject.make_store(self.path)
        self.store = store_at(self.path)

    def teardown(self) -> None:
        for each in self.claims.values():
            each.__exit__(None, None, None)
        shutil.rmtree(self.folder)

    def free(self, complete: bool | None = None) -> list[str]:
        """Groups that nobody holds."""
        return sorted(
            name
            for name, known in self.model.items()
            if name not in self.claims and complete in (None, known.complete)
        )

    @precondition(lambda self: len(self.model) < 3)
    @rule(durable=st.booleans())
    def create(self, durable: bool) -> None:
        claim = self.store.claim(subject.fit_request(rows=ROWS), durable=durable)
        assert claim.group not in self.model
        self.model[claim.group] = Known()
        self.claims[claim.group] = claim

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), row=st.integers(0, ROWS - 1), mark=st.booleans())
    def write(self, data: st.DataObject, row: int, mark: bool) -> None:
        group = data.draw(st.sampled_from(sorted(self.claims)))
        if self.model[group].marked.issuperset(positions_of(row)):
            return
        writer = self.claims[group].writers["Fit"]
        writer.write(key_of(row), subject.fit_values(row))
        if mark:
            writer.mark(key_of(row))
            self.model[group].marked.update(positions_of(row))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(sorted(self.claims)))
        if len(self.model[group].marked) == ROWS * subject.COLUMNS:
            self.claims.pop(group).complete()
            self.model[group].complete = True
        else:
            with pytest.raises(PlanError, match="complete"):
                self.claims[group].complete()

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(sorted(self.claims)))
        self.claims.pop(group).__exit__(None, None, None)

    @precondition(lambda self: self.free(complete=False))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(self.free(complete=False)))
        self.claims[group] = self.store.reopen(group)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(sorted(self.model)))
        if group in self.claims:
            with pytest.raises(StoreLockedError, match="this process"):
                delete_group(self.store, group)
            return
        delete_group(self.store, group)
        del self.model[group]
        with pytest.raises(MainNotFoundError):
            self.store.result(group)

    @precondition(lambda self: not self.claims)
    @rule()
    def reopen(self) -> None:
        self.store = store_at(self.path)

    @rule(
        what=st.sampled_from(["create", "go on", "delete"]),
        change=st.integers(0, 60),
        torn=st.booleans(),
        data=st.data(),
    )
    def crash(self, what: str, change: int, torn: bool, data: st.DataObject) -> None:
        groups = self.free(complete=False if what == "go on" else None)
        if what == "create" and len(self.model) >= 3 or what != "create" and not groups:
            return
        group = "" if what == "create" else data.draw(st.sampled_from(groups))

        def dying() -> None:
            store = store_at(self.path)
            die_at(change, torn)
            if what == "delete":
                delete_group(store, group)
                return
            request = subject.fit_request(rows=ROWS)
            claim = store.claim(request) if what == "create" else store.reopen(group)
            with claim:
                zarr_subject.fill(claim)
                claim.complete()

        ended = in_child(dying)
        assert ended.killed or not ended.trouble, ended.trouble
        if not self.claims:
            self.store = store_at(self.path)
        self.adopt(what, group)

    def adopt(self, what: str, group: str) -> None:
        """Take in what the one who died has done, if it is something it may have done."""
        now = observed(self.store)
        new = set(now) - set(self.model)
        gone = set(self.model) - set(now)
        assert len(new) <= (what == "create")
        assert gone <= ({group} if what == "delete" else set())
        for name, known in now.items():
            before = self.model.get(name, Known())
            assert known.marked >= before.marked
            assert name in new or name == group or known == before
        self.model = now

    @invariant()
    def all_is_as_known(self) -> None:
        if not hasattr(self, "store"):
            return
        assert observed(self.store) == self.model
        source = self.store.open_main(subject.MAIN).array[:, :, :]
        np.testing.assert_array_equal(source, zarr_subject.raw())


class ZarrResults(Results):
    """The same in a folder."""

    ending = ".zarr"


@pytest.mark.parametrize("machine", [Results, ZarrResults])
def test_results_are_what_a_model_says(machine: type[Results]) -> None:
    examples, steps = (6, 12) if machine is Results else (4, 12)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("CHAOS_EXAMPLES", examples)),
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
