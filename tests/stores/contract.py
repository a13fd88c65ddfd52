"""What every store promises: a suite that runs over each of them.

`tests/stores/test_contract.py` binds it to the stores that exist. A store comes as a `Kind`: how to
make one with given Mains in it, and how to open what is at a path.
"""

from __future__ import annotations

import pathlib
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from usidx.errors import (
    LayoutError,
    MainNotFoundError,
    PlanError,
    StoreLockedError,
    UsidError,
)
from usidx.model.blocks import blocks_of
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.model.main import MainSpec
from usidx.stores.base import Claim, OutputRequest, ResultRequest, Store

CHANNEL = "/Measurement_000/Channel_000"
SOURCE = f"{CHANNEL}/Raw_Data"


@dataclass(frozen=True)
class Kind:
    """A kind of store: `make(folder, [(spec, values), ...])` writes one and gives its path."""

    name: str
    make: Callable[[pathlib.Path, Sequence[tuple[MainSpec, Any]]], str]
    store: Callable[[str], Store]


def grid_main(
    dtype: Any = "f4", *, order: bool = False, path: str = SOURCE
) -> tuple[MainSpec, Any]:
    """A Main over Y x X and Bias, with values that tell every cell."""
    position = Grid(
        "position",
        (Dimension("Y", "um", [0.0, 0.5, 1.0, 1.5]), Dimension("X", "nm", [10.0, 20.0, 35.0])),
        order=np.random.default_rng(1).permutation(12) if order else None,
    )
    spectroscopic = Grid("spectroscopic", (Dimension("Bias", "V", np.linspace(-1, 1, 5)),))
    spec = MainSpec(path, "Current", "nA", np.dtype(dtype), position, spectroscopic, {"gain": 2.5})
    return spec, values_for(spec)


def points_main(path: str = SOURCE) -> tuple[MainSpec, Any]:
    """A Main over seven positions that are no grid."""
    x = np.array([0.0, 3.5, 1.0, 2.25, 2.25, 9.0, 4.0])
    y = np.array([1.0, 1.0, 0.5, 0.0, 7.0, 8.0, 8.0])
    columns = tuple(
        Coordinate(name, "um", ("position",), each, np.unique(each, return_inverse=True)[1])
        for name, each in (("Y", y), ("X", x))
    )
    position = Points("position", columns, "7 of 30 cells were measured")
    spectroscopic = Grid("spectroscopic", (Dimension("Bias", "V", np.linspace(-1, 1, 4)),))
    spec = MainSpec(path, "Current", "nA", np.dtype("f8"), position, spectroscopic)
    return spec, values_for(spec)


def values_for(spec: MainSpec, seed: int = 0) -> Any:
    """Random values of the shape and dtype of a Main."""
    rng = np.random.default_rng(seed)

    def plain(dtype: np.dtype[Any]) -> Any:
        if dtype.kind == "b":
            return rng.random(spec.shape) > 0.5
        if dtype.kind in "iu":
            return rng.integers(0, 100, spec.shape).astype(dtype)
        values = rng.standard_normal(spec.shape)
        if dtype.kind == "c":
            values = values + 1j * rng.standard_normal(spec.shape)
        return values.astype(dtype)

    if spec.dtype.names is None:
        return plain(spec.dtype)
    values = np.empty(spec.shape, spec.dtype)
    for name in spec.dtype.names:
        values[name] = plain(spec.dtype[name])
    return values


def request(*specs: MainSpec, block: int = 2, share: bool = False, **changes: Any) -> ResultRequest:
    """A request for a result group of Raw_Data with these Mains, in blocks of `block` rows."""
    outputs = tuple(
        OutputRequest(
            spec,
            (block, *spec.shape[1:]),
            share_position=SOURCE if share else None,
            share_spectroscopic=SOURCE if share else None,
        )
        for spec in specs
    )
    whole = ResultRequest(
        parent=CHANNEL,
        main="Raw_Data",
        tool="Fit",
        version="1",
        parameters={"along": "Bias", "limit": 3, "weights": np.array([0.5, np.nan])},
        fingerprint="f" * 64,
        sources=(("", SOURCE),),
        outputs=outputs,
    )
    return replace(whole, **changes)


def output(dtype: Any = "f8", name: str = "Fit") -> tuple[MainSpec, Any]:
    """A Main to be computed, and the values it should get."""
    return grid_main(dtype, path=f"/{name}")


def write_all(
    claim: Claim, name: str, values: Any, blocks: slice = slice(None), step: int = 2
) -> None:
    """Write and mark blocks of `step` rows of one output."""
    writer = claim.writers[name]
    for block in list(blocks_of(values.shape, (step, *values.shape[1:])))[blocks]:
        writer.write(block.key, values[block.key])
        writer.mark(block.key)


def whole(array: Any) -> Any:
    """Everything that a block array holds."""
    return array[(slice(None),) * array.ndim]


class StoreContract:
    """The promises of `usidx.stores.base`, one test for each; `kind` is a fixture."""

    @pytest.fixture
    def path(self, kind: Kind, tmp_path: pathlib.Path) -> str:
        """A store with one raw Main."""
        return kind.make(tmp_path, [grid_main()])

    @pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1", "?", "c8", "c16", ">f4", "f2"])
    def test_a_main_comes_back(self, kind: Kind, tmp_path: pathlib.Path, dtype: str) -> None:
        spec, values = grid_main(dtype)
        stored = kind.store(kind.make(tmp_path, [(spec, values)])).open_main(SOURCE)
        assert stored.spec.position == spec.position
        assert stored.spec.spectroscopic == spec.spectroscopic
        assert (stored.spec.quantity, stored.spec.units) == ("Current", "nA")
        assert stored.spec.attrs["gain"] == 2.5
        assert stored.array.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(whole(stored.array), values)
        assert stored.completed is None
        assert stored.result is None

    def test_a_compound_main_comes_back(self, kind: Kind, tmp_path: pathlib.Path) -> None:
        spec, values = grid_main([("Amplitude [V]", "<f4"), ("n", "<i4"), ("z", "<c16")])
        stored = kind.store(kind.make(tmp_path, [(spec, values)])).open_main(SOURCE)
        assert stored.spec.dtype.names == spec.dtype.names
        np.testing.assert_array_equal(whole(stored.array), values)
        only = stored.array.only("n")  # type: ignore[attr-defined]
        np.testing.assert_array_equal(whole(only), values["n"])

    def test_points_come_back(self, kind: Kind, tmp_path: pathlib.Path) -> None:
        spec, values = points_main()
        stored = kind.store(kind.make(tmp_path, [(spec, values)])).open_main(SOURCE)
        assert stored.spec.dims == ("position", "Bias")
        assert isinstance(stored.spec.position, Points)
        for found, given in zip(stored.spec.position.columns, spec.position.columns):  # type: ignore[union-attr]
            np.testing.assert_array_equal(found.values, given.values)
        np.testing.assert_array_equal(whole(stored.array), values)

    def test_a_random_scan_keeps_its_order(self, kind: Kind, tmp_path: pathlib.Path) -> None:
        spec, values = grid_main(order=True)
        stored = kind.store(kind.make(tmp_path, [(spec, values)])).open_main(SOURCE)
        np.testing.assert_array_equal(stored.spec.position.order, spec.position.order)
        np.testing.assert_array_equal(whole(stored.array), values)

    def test_parts_of_an_array(self, kind: Kind, path: str) -> None:
        _, values = grid_main()
        array = kind.store(path).open_main(SOURCE).array
        for key in [
            (1, slice(None), slice(None)),
            (slice(1, 3), 2, slice(1, 5, 2)),
            (0, 0, 0),
            (slice(3, 4), slice(0, 3), slice(None, None, 3)),
        ]:
            np.testing.assert_array_equal(array[key], values[key])

    def test_arrays_pickle_and_say_who_they_are(self, kind: Kind, path: str) -> None:
        first = kind.store(path).open_main(SOURCE)
        again = kind.store(path).open_main(SOURCE)
        copy = pickle.loads(pickle.dumps(first.array))
        np.testing.assert_array_equal(whole(copy), grid_main()[1])
        assert first.array.__dask_tokenize__() == again.array.__dask_tokenize__()
        assert first.identity == again.identity

    def test_identity_follows_the_values(self, kind: Kind, tmp_path: pathlib.Path) -> None:
        spec, values = grid_main()
        for name in "ab":
            (tmp_path / name).mkdir()
        one = kind.make(tmp_path / "a", [(spec, values)])
        other = kind.make(tmp_path / "b", [(spec, values + 1)])
        assert (
            kind.store(one).open_main(SOURCE).identity
            != kind.store(other).open_main(SOURCE).identity
        )

    def test_mains_are_listed(self, kind: Kind, tmp_path: pathlib.Path) -> None:
        second = f"{CHANNEL}/Other"
        path = kind.make(tmp_path, [grid_main(), grid_main("c16", path=second)])
        rows = {row.path: row for row in kind.store(path).mains()}
        assert set(rows) == {SOURCE, second}
        row = rows[second]
        assert (row.dims, row.shape, row.dtype) == (("Y", "X", "Bias"), (4, 3, 5), np.dtype("c16"))
        assert (row.quantity, row.units, row.kind) == ("Current", "nA", "raw")

    def test_an_unknown_main_is_named(self, kind: Kind, path: str) -> None:
        with pytest.raises(MainNotFoundError, match="Raw_Date"):
            kind.store(path).open_main(f"{CHANNEL}/Raw_Date")

    def test_a_result_from_claim_to_complete(self, kind: Kind, path: str) -> None:
        store = kind.store(path)
        spec, values = output()
        with store.claim(request(spec)) as claim:
            assert claim.group == f"{CHANNEL}/Raw_Data-Fit_000"
            assert not claim.writers["Fit"].done().any()
            assert store.result(claim.group).status == "partial"
            write_all(claim, "Fit", values)
            assert claim.writers["Fit"].done().all()
            claim.complete()
        (record,) = store.results(SOURCE)
        assert (record.main, record.tool, record.index) == ("Raw_Data", "Fit", 0)
        assert (record.status, record.done, record.total) == ("complete", 12, 12)
        assert (record.version, record.fingerprint) == ("1", "f" * 64)
        assert record.sources == (("", SOURCE),)
        assert record.mains == (f"{record.group}/Fit",)
        assert record.parameters["along"] == "Bias"
        assert record.parameters["limit"] == 3
        np.testing.assert_array_equal(record.parameters["weights"], [0.5, np.nan])
        stored = store.open_main(record.mains[0])
        np.testing.assert_array_equal(whole(stored.array), values)
        assert stored.completed is None
        assert stored.result is not None
        assert stored.result.group == record.group
        assert stored.spec.position == spec.position

    def test_the_source_is_left_alone(self, kind: Kind, path: str) -> None:
        store = kind.store(path)
        before = store.open_main(SOURCE)
        spec, values = output()
        with store.claim(request(spec)) as claim:
            write_all(claim, "Fit", values)
            claim.complete()
        after = store.open_main(SOURCE)
        assert after.identity == before.identity
        np.testing.assert_array_equal(whole(before.array), grid_main()[1])

    def test_what_is_not_marked_is_not_done(self, kind: Kind, path: str) -> None:
        store = kind.store(path)
        spec, values = output()
        with store.claim(request(spec)) as claim:
            writer = claim.writers["Fit"]
            first = (slice(0, 2), slice(0, 3), slice(0, 5))
            last = (slice(2, 4), slice(0, 3), slice(0, 5))
            writer.write(first, values[first])
            writer.mark(first)
            writer.write(last, values[last])  # but not marked
            done = writer.done()
        assert done.dtype == bool
        np.testing.assert_array_equal(done, [[True] * 3] * 2 + [[False] * 3] * 2)
        stored = store.open_main(f"{claim.group}/Fit")
        assert stored.completed is not None
        np.testing.assert_array_equal(whole(stored.completed), done)
        np.testing.assert_array_equal(stored.array[first], values[first])
        (row,) = [row for row in store.mains() if row.path == stored.spec.path]
        assert (row.kind, row.status) == ("result", "partial (50 %)")
        record = store.result(claim.group)
        assert (record.status, record.done, record.total) == ("partial", 6, 12)

    @pytest.mark.parametrize("order", [False, True])
    def test_failures_are_kept(self, kind: Kind, tmp_path: pathlib.Path, order: bool) -> None:
        path = kind.make(tmp_path, [grid_main()])
        store = kind.store(path)
        spec, values = grid_main("f8", order=order, path="/Fit")
        with store.claim(request(spec, failures=True)) as claim:
            writer = claim.writers["Fit"]
            first, last = (block.key for block in blocks_of(values.shape, (2, 3, 5)))
            failed = np.array([[0, 2, 0], [1, 0, 2]])
            writer.write(first, np.where(failed[..., np.newaxis], np.nan, values[first]))
            writer.fail(first, failed, ["ValueError: no light", "ZeroDivisionError"])
            # what is not marked has not failed either
            assert (store.result(claim.group).done, store.result(claim.group).failed) == (0, 0)
            writer.mark(first)
            writer.write(last, values[last])
            writer.fail(last, np.array([[0, 0, 0], [0, 0, 1]]), ["ZeroDivisionError"])
        main = f"{claim.group}/Fit"
        assert store.result(claim.group).failed == 3
        (row,) = [row for row in store.mains() if row.path == main]
        assert row.status == "partial (50 %), 3 failed"
        self.check_failures(store, main, [[0, 2, 0], [1, 0, 2]])
        # a crash before the mark: the position is computed again, and may be fine then
        with store.reopen(claim.group) as again:
            assert again.writers["Fit"].done().sum() == 6
            again.writers["Fit"].write(last, values[last])
            again.writers["Fit"].mark(last)
            again.complete()
        record = store.result(claim.group)
        assert (record.status, record.done, record.failed) == ("complete", 12, 3)
        (row,) = [row for row in store.mains() if row.path == main]
        assert row.status == "complete, 3 failed"
        self.check_failures(store, main, [[0, 2, 0], [1, 0, 2], [0, 0, 0], [0, 0, 0]])

    def check_failures(self, store: Store, main: str, expected: list[list[int]]) -> None:
        """That the positions failed for the reasons `expected`: 1 is no light, 2 a division."""
        failures = store.open_main(main).failures
        assert failures is not None
        texts = ["", "ValueError: no light", "ZeroDivisionError"]
        found = [
            "" if number == 0 else failures.reasons[number - 1]
            for number in whole(failures.numbers)[: len(expected)].ravel()
        ]
        assert found == [texts[each] for row in expected for each in row]
        assert failures.count == np.count_nonzero(expected)

    def test_failed_positions_are_retried(self, kind: Kind, path: str) -> None:
        store = kind.store(path)
        spec, values = output()
        with store.claim(request(spec)) as claim:
            write_all(claim, "Fit", values, slice(0, 1))
        with store.reopen(claim.group, failures=True) as again:
            last = (slice(2, 4), slice(0, 3), slice(0, 5))
            failed = np.array([[0, 1, 0], [0, 0, 1]])
            writer = again.writers["Fit"]
            writer.write(last, np.where(failed[..., np.newaxis], np.nan, values[last]))
            writer.fail(last, failed, ["ValueError"])
            writer.mark(last)
            again.complete()
        with pytest.raises(PlanError, match="nothing to resume"):
            store.reopen(claim.group)
        with store.reopen(claim.group, retry=True) as retried:
            record = store.result(claim.group)
            assert (record.status, record.done, record.failed) == ("partial", 10, 0)
            writer = retried.writers["Fit"]
            done = np.ones((4, 3), bool)
            done[2:][failed != 0] = False
            np.testing.assert_array_equal(writer.done(), done)
            writer.write(last, np.where(failed[..., np.newaxis], values[last], -1), failed != 0)
            writer.mark(last)
            retried.complete()
        stored = store.open_main(f"{claim.group}/Fit")
        np.testing.assert_array_equal(whole(stored.array), values)
        assert stored.failures is None
        with pytest.raises(PlanError, match="nothing to resume"):
            store.reopen(claim.group, retry=True)

    def test_failures_need_room(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec)) as claim:
            writer = claim.writers["Fit"]
            first = (slice(0, 2), slice(0, 3), slice(0, 5))
            with pytest.raises(PlanError, match="no room to say where a step failed"):
                writer.fail(first, np.ones((2, 3), int), ["ValueError"])

    def test_completion_is_refused_while_partial(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec)) as claim:
            write_all(claim, "Fit", values, slice(0, 1))
            with pytest.raises(PlanError, match="complete"):
                claim.complete()
        assert kind.store(path).result(claim.group).status == "partial"

    def test_a_dropped_claim_is_resumed(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec)) as claim:
            write_all(claim, "Fit", values, slice(0, 1))
        with kind.store(path).reopen(claim.group) as again:
            assert again.group == claim.group
            assert again.writers["Fit"].done().sum() == 6
            write_all(again, "Fit", values, slice(1, None))
            again.complete()
        stored = kind.store(path).open_main(f"{claim.group}/Fit")
        np.testing.assert_array_equal(whole(stored.array), values)

    def test_a_complete_result_is_not_resumed(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec)) as claim:
            write_all(claim, "Fit", values)
            claim.complete()
        with pytest.raises(PlanError, match="complete"):
            kind.store(path).reopen(claim.group)

    def test_a_group_is_held_by_one(self, kind: Kind, path: str) -> None:
        spec, _ = output()
        store = kind.store(path)
        with store.claim(request(spec)) as claim, pytest.raises(StoreLockedError, match="process"):
            store.reopen(claim.group)
        store.reopen(claim.group).__exit__(None, None, None)

    def test_a_claim_that_ended_writes_no_more(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec)) as claim:
            writer = claim.writers["Fit"]
        key = (slice(0, 2), slice(0, 3), slice(0, 5))
        with pytest.raises(StoreLockedError, match="ended"):
            writer.write(key, values[key])
        with pytest.raises(StoreLockedError, match="ended"):
            claim.complete()

    def test_groups_are_numbered(self, kind: Kind, path: str) -> None:
        store = kind.store(path)
        spec, _ = output()
        groups = []
        for tool in ("Fit", "Fit", "Other", "Fit"):
            with store.claim(request(spec, tool=tool)) as claim:
                groups.append(claim.group.rsplit("/", 1)[1])
        assert groups == [
            "Raw_Data-Fit_000",
            "Raw_Data-Fit_001",
            "Raw_Data-Other_000",
            "Raw_Data-Fit_002",
        ]
        assert len(store.results(SOURCE)) == 4

    def test_two_claims_at_once_get_two_groups(self, kind: Kind, path: str) -> None:
        spec, values = output()

        def work(seed: int) -> str:
            with kind.store(path).claim(request(spec)) as claim:
                write_all(claim, "Fit", values + seed)
                claim.complete()
            return claim.group

        with ThreadPoolExecutor(4) as pool:
            groups = list(pool.map(work, range(4)))
        assert len(set(groups)) == 4
        for seed, group in enumerate(groups):
            stored = kind.store(path).open_main(f"{group}/Fit")
            np.testing.assert_array_equal(whole(stored.array), values + seed)

    def test_blocks_are_written_at_once(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec, block=1)) as claim:
            writer = pickle.loads(pickle.dumps(claim.writers["Fit"]))

            def work(block: Any) -> None:
                writer.write(block.key, values[block.key])
                writer.mark(block.key)

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(work, blocks_of(values.shape, (1, *values.shape[1:]))))
            claim.complete()
        stored = kind.store(path).open_main(f"{claim.group}/Fit")
        np.testing.assert_array_equal(whole(stored.array), values)

    @pytest.mark.parametrize(
        "dtype", ["?", "i4", "c8", [("a", "<f4"), ("b", "<c16"), ("c", "<i2")]], ids=str
    )
    def test_results_of_every_kind_of_value(self, kind: Kind, path: str, dtype: Any) -> None:
        spec, values = output(dtype)
        with kind.store(path).claim(request(spec)) as claim:
            write_all(claim, "Fit", values)
            claim.complete()
        stored = kind.store(path).open_main(f"{claim.group}/Fit")
        assert stored.spec.dtype == spec.dtype
        np.testing.assert_array_equal(whole(stored.array), values)

    def test_zeros_are_values_too(self, kind: Kind, path: str) -> None:
        spec, values = output("i4")
        with kind.store(path).claim(request(spec)) as claim:
            write_all(claim, "Fit", np.zeros_like(values))
            claim.complete()
        stored = kind.store(path).open_main(f"{claim.group}/Fit")
        np.testing.assert_array_equal(whole(stored.array), 0)

    def test_several_outputs(self, kind: Kind, path: str) -> None:
        guess, guesses = output("f4", "Guess")
        mean, means = output("f8", "Mean")
        store = kind.store(path)
        with store.claim(request(guess, mean)) as claim:
            write_all(claim, "Guess", guesses)
            with pytest.raises(PlanError, match="Mean"):
                claim.complete()
            write_all(claim, "Mean", means)
            claim.complete()
        record = store.result(claim.group)
        assert {each.rsplit("/", 1)[1] for each in record.mains} == {"Guess", "Mean"}
        assert (record.done, record.total) == (24, 24)
        np.testing.assert_array_equal(whole(store.open_main(f"{claim.group}/Mean").array), means)

    def test_shared_ancillaries(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec, share=True)) as claim:
            write_all(claim, "Fit", values)
            claim.complete()
        source = kind.store(path).open_main(SOURCE).spec
        stored = kind.store(path).open_main(f"{claim.group}/Fit").spec
        assert stored.position == source.position
        assert stored.spectroscopic == source.spectroscopic

    def test_results_on_points(self, kind: Kind, tmp_path: pathlib.Path) -> None:
        path = kind.make(tmp_path, [points_main()])
        spec, values = points_main("/Fit")
        with kind.store(path).claim(request(spec, block=3)) as claim:
            write_all(claim, "Fit", values, step=3)
            claim.complete()
        stored = kind.store(path).open_main(f"{claim.group}/Fit")
        assert isinstance(stored.spec.position, Points)
        np.testing.assert_array_equal(whole(stored.array), values)

    def test_results_of_a_random_scan(self, kind: Kind, tmp_path: pathlib.Path) -> None:
        path = kind.make(tmp_path, [grid_main(order=True)])
        spec, values = grid_main("f8", order=True, path="/Fit")
        with kind.store(path).claim(request(spec)) as claim:
            write_all(claim, "Fit", values, slice(0, 1))
            assert claim.writers["Fit"].done()[:2].all()
            write_all(claim, "Fit", values, slice(1, None))
            claim.complete()
        stored = kind.store(path).open_main(f"{claim.group}/Fit")
        np.testing.assert_array_equal(stored.spec.position.order, spec.position.order)
        np.testing.assert_array_equal(whole(stored.array), values)

    def test_a_source_in_another_store(self, kind: Kind, path: str) -> None:
        spec, values = output()
        elsewhere = (("/data/elsewhere.h5", SOURCE),)
        with kind.store(path).claim(request(spec, sources=elsewhere)) as claim:
            write_all(claim, "Fit", values)
            claim.complete()
        assert kind.store(path).result(claim.group).sources == elsewhere

    def test_values_that_do_not_fit_are_refused(self, kind: Kind, path: str) -> None:
        spec, values = output()
        with kind.store(path).claim(request(spec)) as claim:
            key = (slice(0, 2), slice(0, 3), slice(0, 5))
            with pytest.raises(UsidError):
                claim.writers["Fit"].write(key, values[:1])
            with pytest.raises(LayoutError):
                claim.writers["Fit"].write((slice(0, 2), slice(1, 3), slice(0, 5)), values[:2, 1:])
            assert not claim.writers["Fit"].done().any()

    def test_nothing_is_left_of_a_claim_that_failed(self, kind: Kind, path: str) -> None:
        spec, _ = output()
        before = sorted(each.name for each in pathlib.Path(path).parent.iterdir())
        with pytest.raises(UsidError):
            kind.store(path).claim(request(spec, parameters={"broken": object()}))
        assert sorted(each.name for each in pathlib.Path(path).parent.iterdir()) == before
        assert kind.store(path).results(SOURCE) == ()

    def test_no_files_stay_beside_the_store(self, kind: Kind, path: str) -> None:
        spec, values = output()
        before = sorted(each.name for each in pathlib.Path(path).parent.iterdir())
        with kind.store(path).claim(request(spec)) as claim:
            write_all(claim, "Fit", values)
            claim.complete()
        assert sorted(each.name for each in pathlib.Path(path).parent.iterdir()) == before
