"""What goes to other processes is little: bytes are counted."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import cloudpickle
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.process.planning.bind import bind
from usidx.process.planning.plan import Plan
from usidx.process.results.target import request_of, target_of
from usidx.process.running.parcel import Packer, WorkerError, is_under_way, perform
from usidx.process.running.streaming import stream_of
from usidx.process.running.work import batches, count_units, graph_of, units_of, works_of
from usidx.step import step
from usidx.testing import make_main

BLOCKS = 100_000
TOGETHER = 32


@step("Doubled", version="1", per_position=True)
def doubled(spectra: xr.DataArray) -> xr.DataArray:
    """Computed piece by piece."""
    return 2 * spectra


@step("Ordered", version="1")
def ordered(spectra: xr.DataArray) -> xr.DataArray:
    """Computed as graphs."""
    table = np.arange(50_000.0)  # is sent once
    return spectra.usid.map(
        lambda block: np.sort(block) + table[0], over="Frequency", output="Frequency", dtype="f4"
    )


@pytest.fixture
def many(tmp_path: Any) -> xr.DataArray:
    """A stored Main with a position for each block."""
    path = str(tmp_path / "many.h5")
    make_main((BLOCKS // 100, 100, 2), dtype="float32").usid.to_h5usid(path)
    opened = usidx.open(path)
    assert isinstance(opened, xr.DataArray)
    return opened


def works_in(plan: Plan, writers: Any, count: int) -> list[Any]:
    """The first works of a plan."""
    units = list(itertools.islice(units_of(plan, writers), count))
    stream = stream_of(plan)
    if stream is not None:
        return [stream.work(unit) for unit in units]
    found = []
    for batch in batches(units):
        works = works_of(graph_of(plan, batch), batch)
        assert works is not None
        found += works
    return found


@pytest.mark.parametrize(("made", "most"), [(doubled, 4e6), (ordered, 10e6)])
def test_a_hundred_thousand_blocks_are_a_few_megabytes(
    many: xr.DataArray, made: Any, most: float
) -> None:
    plan = bind(made, many, {}, memory=50)
    assert count_units(plan) == BLOCKS
    target = target_of(None, plan.source)
    with target.store.claim(request_of(plan, target)) as claim:
        works = works_in(plan, claim.writers, 512)
        packer = Packer((target.store.path,))
        handfuls = [works[start : start + TOGETHER] for start in range(0, 512, TOGETHER)]
        # from the second on: what is learned first is shared
        sizes = [len(cloudpickle.dumps(packer.pack(each))) for each in handfuls][1:]
        shared = sum(map(len, packer.shared.values()))
        alone = len(pickle.dumps(packer.pack(works[-1:])))
    whole = shared + sum(sizes) / len(sizes) * BLOCKS / TOGETHER
    assert whole < most
    assert alone < 1500
    # the table of the function is there once
    assert shared < (10_000 if made is doubled else 420_000)


def test_a_parcel_does_what_its_works_do(source: xr.DataArray, truth: xr.DataArray) -> None:
    for made, expected in ((doubled, 2 * truth), (ordered, np.sort(truth))):
        plan = bind(made, source, {}, memory=33_000)
        target = target_of(None, plan.source)
        with target.store.claim(request_of(plan, target)) as claim:
            works = works_in(plan, claim.writers, 100)
            packer = Packer((target.store.path,))
            parcel = pickle.loads(pickle.dumps(packer.pack(works)))
            ended = perform(parcel, *(packer.shared[name] for name in parcel.shared))
            assert ended.error is None
            assert len(ended.seconds) == len(works)
            assert all(writer.done().all() for writer in claim.writers.values())
            claim.complete()
        np.testing.assert_array_equal(
            source.usid.process(made).run(progress=False).open(), np.asarray(expected)
        )
        assert not is_under_way(parcel.run)


def test_a_process_says_what_it_lacks(source: xr.DataArray, monkeypatch: Any) -> None:
    plan = bind(doubled, source, {}, memory=33_000)
    target = target_of(None, plan.source)
    with target.store.claim(request_of(plan, target)) as claim:
        works = works_in(plan, claim.writers, 1)
        unseen = Packer(("/there/is/no/such.h5",))
        parcel = unseen.pack(works)
        ended = perform(parcel, *unseen.shared.values())
        assert isinstance(ended.error, WorkerError)
        assert "does not see '/there/is/no/such.h5'" in str(ended.error)
        assert ended.host

        monkeypatch.setattr("usidx.process.running.parcel.own_version", lambda: "0.0.7")
        old = Packer()
        parcel = old.pack(works)
        monkeypatch.setattr("usidx.process.running.parcel.own_version", lambda: "0.0.8")
        ended = perform(parcel, *old.shared.values())
        assert "it has usidx 0.0.8, and the run was begun with 0.0.7" in str(ended.error)
        assert not any(writer.done().any() for writer in claim.writers.values())


class UnrulyError(Exception):
    """An error that is made of other arguments than it keeps."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def test_errors_come_back_whatever_they_are(source: xr.DataArray) -> None:
    @step("Failing", version="1", per_position=True)
    def failing(spectra: xr.DataArray) -> xr.DataArray:
        def fail(block: np.ndarray) -> np.ndarray:
            raise UnrulyError("too ", "bright")

        return spectra.usid.map(fail, over="Frequency", dtype="f4")

    plan = bind(failing, source, {}, memory=33_000)
    target = target_of(None, plan.source)
    with target.store.claim(request_of(plan, target)) as claim:
        packer = Packer()
        parcel = packer.pack(works_in(plan, claim.writers, 2))
        ended = perform(parcel, *(packer.shared[name] for name in parcel.shared))
    assert ended.seconds == ()
    told = pickle.loads(cloudpickle.dumps(ended)).error
    assert "too bright" in str(told)
    assert "in fail" in "\n".join(told.__notes__)
