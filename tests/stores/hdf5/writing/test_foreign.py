"""Results that another program began: however they are stored, each block is whole or not there."""

from __future__ import annotations

import os
import pathlib
import pickle
import threading
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from tests.chaos.children import in_child
from tests.chaos.subject import CHANNEL, GROUP, MAIN, fill, fit_values, keys, make_scan, raw_values
from usidx.errors import LayoutError, PlanError, SourceChangedError, StoreLockedError
from usidx.stores import disk
from usidx.stores.hdf5 import HDF5Store
from usidx.stores.hdf5.transactions.transaction import recover
from usidx.stores.hdf5.write import reopen
from usidx.stores.hdf5.writing.compressed import CompressedWriter
from usidx.stores.hdf5.writing.foreign import TransactionWriter

EXPECTED = np.concatenate([fit_values(row) for row in range(16)]).reshape(-1, 3)
KEY = next(iter(keys()))


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """An h5USID file that plain h5py made."""
    return make_scan(str(tmp_path / "scan.h5"))


COMPRESSED = {"compression": "gzip", "shuffle": True, "fletcher32": True}


def begin(
    path: str,
    mains: tuple[str, ...] = ("Fit",),
    marks: tuple[str, ...] = ("completed_positions",),
    *,
    last_pixel: int | None = None,
    begun: bool = True,
    **storage: Any,
) -> None:
    """A group with its first 8 positions done, as pyUSID's Process leaves it."""
    with h5py.File(path, "r+") as file:
        group = file[CHANNEL].create_group("Raw_Data-Fit_000")
        group.attrs["tool"] = "Fit"
        group.attrs["source_000"] = file[MAIN].ref
        if last_pixel is not None:
            group.attrs["last_pixel"] = last_pixel
        for name in ("Indices", "Values"):
            values = np.arange(3, dtype="u4" if name == "Indices" else "f4")[None]
            ancillary = group.create_dataset(f"Spectroscopic_{name}", data=values)
            ancillary.attrs["labels"] = np.array(["Parameter"], "S")
            ancillary.attrs["units"] = np.array(["a.u."], "S")
        for name in mains:
            main = group.create_dataset(name, (128, 3), "f4", **storage)
            main.attrs["quantity"], main.attrs["units"] = "Parameter", "a. u."
            for side in ("Indices", "Values"):
                main.attrs[f"Position_{side}"] = file[MAIN].attrs[f"Position_{side}"]
                main.attrs[f"Spectroscopic_{side}"] = group[f"Spectroscopic_{side}"].ref
            if begun:
                main[:8] = EXPECTED[:8]
        for name in marks:
            group.create_dataset(name, (128,), "u1")[:8] = int(begun)


def check(path: str, name: str = "Fit") -> None:
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file[GROUP][name][()], EXPECTED)
        np.testing.assert_array_equal(file[MAIN][()], raw_values())
    record = HDF5Store(path).result(GROUP)
    assert (record.status, record.done) == ("complete", record.total)


@pytest.mark.parametrize(
    "storage",
    [
        {"chunks": (1, 3)},
        {"chunks": (50, 2)},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (7, 3), "maxshape": (None, None)},
        {"begun": False},
    ],
    ids=str,
)
def test_values_go_through_hdf5_where_they_have_no_place(path: str, storage: Any) -> None:
    begin(path, **storage)
    with reopen(path, GROUP) as held:
        writer = held.writers["Fit"]
        ours = "fletcher32" in storage  # chunks as usidx itself compresses them
        assert isinstance(writer, CompressedWriter if ours else TransactionWriter)
        assert writer.done().sum() == 8 * storage.get("begun", True)
        assert (writer.shape, writer.dtype) == ((16, 8, 3), np.float32)
        fill(held)
        held.complete()
    check(path)
    with h5py.File(path, "r") as file:
        assert file[GROUP].attrs["last_pixel"] == 128
        assert set(file[GROUP]["completed_positions"][()]) == {1}


@pytest.mark.parametrize("storage", [{}, COMPRESSED], ids=str)
def test_positions_out_of_order(path: str, storage: Any) -> None:
    """Rows of the file are a random walk over the map."""
    order = np.random.default_rng(3).permutation(128)
    with h5py.File(path, "r+") as file:
        for name in ("Position_Indices", "Position_Values"):
            file[CHANNEL][name][...] = file[CHANNEL][name][()][order]
    begin(path, chunks=(10, 3), **storage)
    rows = np.empty(128, int)
    rows[order] = np.arange(128)
    with reopen(path, GROUP) as held:
        writer = held.writers["Fit"]
        np.testing.assert_array_equal(writer.done().reshape(-1), rows < 8)
        for key in keys():
            writer.write(key, fit_values(key[0].start))
            writer.mark(key)
        held.complete()
    with h5py.File(path, "r") as file:
        stored = file[GROUP]["Fit"][()]
    np.testing.assert_array_equal(stored[8:], EXPECTED[order][8:])
    np.testing.assert_array_equal(stored[:8], EXPECTED[:8])


@pytest.mark.parametrize(
    "storage", [{}, {"chunks": (10, 3)}, {"chunks": (10, 3), **COMPRESSED}], ids=str
)
def test_what_is_marked_keeps_its_values(path: str, storage: Any) -> None:
    begin(path, **storage)
    with h5py.File(path, "r+") as file:
        file[GROUP]["completed_positions"][[20, 21, 127]] = [1, 1, 1]
        file[GROUP]["Fit"][[20, 21, 127]] = np.full((3, 3), -1)
    whole = (slice(0, 16), slice(0, 8), slice(0, 3))
    with reopen(path, GROUP) as held:
        held.writers["Fit"].write(whole, -EXPECTED.reshape(16, 8, 3))
        held.writers["Fit"].mark(whole)
        held.complete()
    expected = -EXPECTED
    expected[:8] = EXPECTED[:8]
    expected[[20, 21, 127]] = -1
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file[GROUP]["Fit"][()], expected)


class TestMarks:
    def test_of_last_pixel_alone(self, path: str) -> None:
        begin(path, marks=(), last_pixel=8)
        with reopen(path, GROUP) as held:
            assert held.writers["Fit"].done().sum() == 8
            with h5py.File(path, "r") as file:  # pyUSID finds them too
                assert file[GROUP]["completed_positions"].dtype == np.uint8
                assert file[GROUP]["completed_positions"][()].sum() == 8
            fill(held)
            held.complete()
        check(path)

    def test_of_several_mains_are_parted(self, path: str) -> None:
        begin(path, ("Fit", "Guess"))
        with reopen(path, GROUP) as held:
            for name in ("Fit", "Guess"):
                assert held.writers[name].done().sum() == 8
            fill(held)
            assert held.writers["Guess"].done().sum() == 8
            for key in keys():
                held.writers["Guess"].write(key, fit_values(key[0].start))
            with h5py.File(path, "r") as file:  # the first mark of all is the last thing
                assert file[GROUP]["completed_positions"][()].sum() == 8
            with pytest.raises(PlanError, match="not marked"):
                held.complete()
            for key in keys():
                held.writers["Guess"].mark(key)
            held.complete()
        check(path)
        check(path, "Guess")
        with h5py.File(path, "r") as file:
            assert file[GROUP]["completed_positions"][()].all()

    def test_in_another_case(self, path: str) -> None:
        begin(path, ("Fit", "Guess"), ("completed_fit_positions", "completed_guess_positions"))
        with reopen(path, GROUP) as held:
            fill(held)
            assert held.writers["Guess"].done().sum() == 8
        with h5py.File(path, "r") as file:
            assert file[GROUP]["completed_fit_positions"][()].all()
            assert "completed_Fit_positions" not in file[GROUP]

    def test_none_at_all(self, path: str) -> None:
        begin(path, marks=())
        before = pathlib.Path(path).read_bytes()
        with pytest.raises(PlanError, match="does not say which positions"):
            reopen(path, GROUP)
        assert pathlib.Path(path).read_bytes() == before


class TestSafety:
    def test_a_crash_at_any_write_leaves_whole_blocks(self, path: str) -> None:
        begin(path, compression="gzip", chunks=(20, 3))
        before = pathlib.Path(path).read_bytes()
        key = (slice(5, 6), slice(0, 8), slice(0, 3))

        def write(count: int) -> Callable[[], int]:
            def work() -> int:
                real, done = disk.write_at, 0

                def counted(descriptor: int, data: Any, offset: int) -> None:
                    nonlocal done
                    done += 1
                    if done == count:
                        real(descriptor, bytes(data)[: len(bytes(data)) // 2], offset)
                        os.kill(os.getpid(), 9)
                    real(descriptor, data, offset)

                disk.write_at = counted
                with reopen(path, GROUP) as held:
                    held.writers["Fit"].write(key, fit_values(5))
                    held.writers["Fit"].mark(key)
                return done

            return work

        total = in_child(write(-1)).result
        assert total > 10
        for count in range(1, total + 1):
            for left in pathlib.Path(path).parent.iterdir():
                left.unlink()
            pathlib.Path(path).write_bytes(before)
            assert in_child(write(count)).killed
            recover(path)
            with h5py.File(path, "r") as file:
                np.testing.assert_array_equal(file[MAIN][()], raw_values())
                main, marks = file[GROUP]["Fit"][()], file[GROUP]["completed_positions"][()]
                np.testing.assert_array_equal(main[:8], EXPECTED[:8])
                block = main[40:48]
                assert (block == 0).all() or (block == fit_values(5)[0]).all()
                assert (block != 0).all() or not marks[40:48].any()
                assert set(marks[40:48]) in ({0}, {1})

    def test_many_threads_write_at_once(self, path: str) -> None:
        begin(path, chunks=(10, 3))
        with reopen(path, GROUP) as held:
            writer = pickle.loads(pickle.dumps(held.writers["Fit"]))

            def work(every: int) -> None:
                for key in list(keys())[every::4]:
                    writer.write(key, fit_values(key[0].start))
                    writer.mark(key)

            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            held.complete()
        check(path)

    def test_an_ended_claim_writes_no_more(self, path: str) -> None:
        begin(path, chunks=(10, 3))
        with reopen(path, GROUP) as held:
            writer = held.writers["Fit"]
        with pytest.raises(StoreLockedError, match="has ended"):
            writer.write(KEY, fit_values(0))

    def test_a_group_that_was_deleted(self, path: str) -> None:
        begin(path, chunks=(10, 3))
        with reopen(path, GROUP) as held:
            with h5py.File(path, "r+") as file:
                del file[GROUP]
            with pytest.raises(SourceChangedError, match="no longer in"):
                held.writers["Fit"].write(KEY, fit_values(0))

    def test_blocks_that_do_not_fit(self, path: str) -> None:
        begin(path, chunks=(10, 3))
        with reopen(path, GROUP) as held:
            with pytest.raises(LayoutError, match="shape"):
                held.writers["Fit"].write(KEY, np.zeros((1, 8, 4)))
            with pytest.raises(LayoutError, match="complex"):
                held.writers["Fit"].write(KEY, fit_values(0) * 1j)
