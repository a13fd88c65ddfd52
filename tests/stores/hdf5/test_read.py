"""Mains and result groups of real and made files, against ground truth."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from usidx.errors import (
    DamagedStoreError,
    InvalidMainError,
    MainNotFoundError,
    NotUsidError,
    StoreAccessError,
    StoreLockedError,
    StoreNotFoundError,
)
from usidx.model.layout import Grid, Layout
from usidx.stores import store_at
from usidx.stores.base import MainEntry, StoredMain
from usidx.stores.hdf5 import HDF5Store, read
from usidx.stores.hdf5.values.bytes import HDF5Array
from usidx.stores.hdf5.values.selection import Fold

# the samples of the fixture, wanted here while tests are still being collected
FOLDER = pathlib.Path(__file__).resolve().parents[4] / "shared" / "samples" / "h5usid"
CHANNEL = "/Measurement_000/Channel_000"
RAW = f"{CHANNEL}/Raw_Data"


def truth_files() -> list[Any]:
    truth = FOLDER / "ground_truth.json"
    if not truth.is_file():
        reason = f"there is no {truth}"
        return [pytest.param("", {}, marks=pytest.mark.skip(reason=reason))]
    return [
        pytest.param(name, entry, id=pathlib.Path(name).name)
        for name, entry in json.loads(truth.read_text())["files"].items()
        if (FOLDER / name).is_file()
    ]


@pytest.fixture
def pyusid(samples: pathlib.Path) -> pathlib.Path:
    return samples / "h5usid" / "pyusid"


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def in_file_order(layout: Layout, labels: list[str]) -> list[int]:
    """The axis of the layout for each label of the file."""
    assert isinstance(layout, Grid)
    mine = [each.file_label for each in layout.dimensions]
    return [mine.index(label.strip()) for label in labels]


@pytest.mark.parametrize(("name", "truth"), truth_files())
def test_every_main_of_every_sample(name: str, truth: dict[str, Any]) -> None:
    store = store_at(FOLDER / name)
    assert isinstance(store, HDF5Store)
    for main in truth["mains"]:
        if main["check_if_main"] is not True:
            continue
        stored = store.open_main(main["path"])
        raw = main["raw_2d"]
        array = stored.array
        assert isinstance(array, HDF5Array)
        flat = dataclasses.replace(array, folds=tuple(Fold((size,)) for size in raw["shape"]))
        values = flat[()]
        assert values.shape == tuple(raw["shape"])
        assert sha256(values) == raw["sha256_C"]
        assert stored.spec.shape_2d == values.shape
        assert stored.spec.shape == array.shape
        assert stored.spec.dtype == array.dtype
        if "quantity_units" in main:
            # pyUSID shows texts that are stored as bytes as b'...'
            stated = [
                each.strip().removeprefix("b'").rstrip("'") for each in main["quantity_units"]
            ]
            assert [stored.spec.quantity, stored.spec.units] == stated
        _folds_as_stated(stored, main.get("reference"), main.get("file_labels", []))


def _folds_as_stated(
    stored: StoredMain, reference: dict[str, Any] | None, labels: list[str]
) -> None:
    if not reference or not (reference["pos_is_full_grid"] and reference["spec_is_full_grid"]):
        return
    n_position = len(stored.spec.position.dims)
    rows = in_file_order(stored.spec.position, labels[:n_position])
    columns = in_file_order(stored.spec.spectroscopic, labels[n_position:])
    axes = rows + [n_position + axis for axis in columns]
    folded = stored.array[(slice(None),) * stored.array.ndim].transpose(axes)
    assert sha256(folded) == reference["nd_file_order"]["sha256_C"]


@pytest.mark.parametrize(("name", "truth"), truth_files())
def test_every_sample_is_listed(name: str, truth: dict[str, Any]) -> None:
    expected = {main["path"] for main in truth["mains"] if main["check_if_main"] is True}
    # pyUSID refuses these, but nothing is missing in them
    lenient = {f"{CHANNEL}/refs_1elem_array", f"{CHANNEL}/units_1elem_array"}
    if not expected:
        with pytest.raises(NotUsidError, match="without any Main"):
            store_at(FOLDER / name).mains()
        return
    entries = store_at(FOLDER / name).mains()
    listed = [entry.path for entry in entries]
    assert set(listed) - lenient == expected
    assert listed == sorted(listed)
    for entry in entries:
        stored = store_at(FOLDER / name).open_main(entry.path)
        spec = stored.spec
        assert (entry.dims, entry.shape, entry.dtype) == (spec.dims, spec.shape, spec.dtype)
        assert (entry.quantity, entry.units) == (spec.quantity, spec.units)
        assert (entry.kind == "result") == (stored.result is not None)


def test_known_files_by_hand(pyusid: pathlib.Path) -> None:
    stored = store_at(pyusid / "01_4d_default_fast_to_slow.h5").open_main(RAW)
    truth = np.load(pyusid / "01_truth_YXBF.npy")
    assert stored.spec.dims == ("Y", "X", "Bias", "Frequency")
    np.testing.assert_array_equal(stored.array[2, 1:4], truth[2, 1:4])
    assert stored.spec.attrs["pyUSID_version"] == "0.0.12"
    assert "quantity" not in stored.spec.attrs
    assert "Position_Indices" not in stored.spec.attrs
    assert stored.store == str(pyusid / "01_4d_default_fast_to_slow.h5")
    assert stored.chunks == stored.array.shape
    assert stored.completed is None
    assert stored.result is None

    beps = store_at(pyusid / "28_beps_small_like_h5py.h5").open_main(RAW)
    truth = np.load(pyusid / "28_truth_Y_X_Cycle_DC_Field_Freq.npy")
    assert beps.spec.dims == ("Y", "X", "Cycle", "DC_Offset", "Field", "Frequency")
    np.testing.assert_array_equal(beps.array[(slice(None),) * 4 + (1,)], truth[..., 1, :])
    assert beps.spec.attrs["in_field_Plot_Group"] == f"{RAW}[:, 144 of 288]"


def test_labels_and_units_however_they_are_written(pyusid: pathlib.Path) -> None:
    for name in ("S", "fixedU", "padded", "spacepad", "vlen", "vlenascii"):
        spec = store_at(pyusid / f"16_labels_{name}_h5py.h5").open_main(RAW).spec
        assert spec.dims == ("Y", "X", "Bias", "Frequency"), name
        assert all(isinstance(side, Grid) for side in (spec.position, spec.spectroscopic))
    vlen = store_at(pyusid / "16_labels_vlen_h5py.h5").open_main(RAW).spec
    assert isinstance(vlen.position, Grid)
    assert {each.units for each in vlen.position.dimensions} == {"µm"}
    twice = store_at(pyusid / "16_duplicate_label_pos_spec.h5").open_main(RAW).spec
    assert twice.dims == ("Y", "X", "Y_spectroscopic", "X_spectroscopic")


# -- what is no Main ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("dangling", ["Position_Values", "dangling reference"]),
        ("no_pos", ["Position_Indices", "Position_Values", "nothing"]),
        ("no_spec_vals", ["Spectroscopic_Values", "nothing"]),
        ("no_units", ["@units"]),
        ("null_ref", ["Position_Values", "null reference"]),
        ("quantity_number", ["@quantity", "the number 3"]),
        ("ref_to_group", ["reference to a group"]),
        ("size_mismatch", ["(15, 2)", "(10, dimensions)"]),
        ("three_d", ["(15, 4, 7)"]),
        ("Position_Indices", ["Position_Indices@Spectroscopic_Values", "@quantity"]),
    ],
)
def test_what_is_wrong_is_all_said_at_once(
    pyusid: pathlib.Path, name: str, parts: list[str]
) -> None:
    store = store_at(pyusid / "15_not_quite_main_h5py.h5")
    with pytest.raises(InvalidMainError) as caught:
        store.open_main(f"{CHANNEL}/{name}")
    for part in [f"{CHANNEL}/{name}", *parts]:
        assert part in str(caught.value)


def test_names_that_are_not_there(pyusid: pathlib.Path) -> None:
    store = store_at(pyusid / "20_process_results.h5")
    with pytest.raises(MainNotFoundError, match=r"no Main .*did you mean '.*/Raw_Data'"):
        store.open_main(f"{CHANNEL}/Raw_Dat")
    with pytest.raises(MainNotFoundError, match=r"is a group; Mains in it: .*_001/Mean"):
        store.open_main(f"{RAW}-Mean_Gain_001")
    with pytest.raises(MainNotFoundError):
        store.open_main("/Measurement_000/nothing/below")
    with pytest.raises(MainNotFoundError):
        store.open_main(f"{RAW}/below/a/dataset")
    assert store.open_main(RAW.strip("/")).spec.path == RAW


def test_a_file_with_only_broken_mains_names_them(
    tmp_path: pathlib.Path, pyusid: pathlib.Path
) -> None:
    path = pathlib.Path(shutil.copy(pyusid / "01_4d_default_fast_to_slow.h5", tmp_path))
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        del file[RAW].attrs["Position_Values"]
        del file[RAW].attrs["units"]
    with pytest.raises(NotUsidError, match=r"no valid Main.*\n.*Raw_Data@units.*\(and 1 more\)"):
        store_at(path).mains()


# -- what lies in a file, each object once --------------------------------------------------------


def made_main(
    file: h5py.File, path: str, share: h5py.Dataset | None = None, rows: int = 6, columns: int = 4
) -> h5py.Dataset:
    """A Main, with ancillaries of its own beside it or those of another one."""
    main = file.create_dataset(path, data=np.arange(rows * columns, dtype="f4").reshape(rows, -1))
    main.attrs.update({"quantity": "Current", "units": "nA"})
    for side, size in (("Position", rows), ("Spectroscopic", columns)):
        for kind in ("Indices", "Values"):
            name = f"{side}_{kind}"
            if share is not None:
                main.attrs[name] = share.attrs[name]
                continue
            matrix = np.arange(size).reshape((-1, 1) if side == "Position" else (1, -1))
            ancillary = main.parent.create_dataset(name, data=matrix)
            ancillary.attrs["labels"] = [b"X" if side == "Position" else b"V"]
            ancillary.attrs["units"] = [b"um"]
            main.attrs[name] = ancillary.ref
    return main


def test_links_are_visited_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        main = made_main(file, "a/Raw_Data")
        file["a/again"] = main
        file["b"] = file["a"]
        file["c/d"] = h5py.SoftLink("/a")
        file["soft"] = h5py.SoftLink("/a/Raw_Data")
        file["gone"] = h5py.SoftLink("/nowhere")
    store = store_at(path)
    assert [entry.path for entry in store.mains()] == ["/a/Raw_Data"]
    for alias in ("/soft", "/b/again", "/c/d/Raw_Data"):
        stored = store.open_main(alias)
        assert stored.spec.path == alias
        assert stored.array[(1,)].tolist() == [4, 5, 6, 7]
    with pytest.raises(MainNotFoundError):
        store.open_main("/gone")


def test_order_of_the_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", track_order=True) as file:
        for name in ("z", "b", "m"):
            made_main(file, f"{name}/Raw_Data")
    assert [entry.path[1] for entry in store_at(path).mains()] == ["z", "b", "m"]


def test_ancillaries_are_read_once_and_values_not_at_all(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        first = made_main(file, "Raw_Data", rows=100_000, columns=40)
        for number in range(5):
            made_main(file, f"Raw_Data-Fit_{number:03d}/Fit", first, rows=100_000, columns=40)
    cells: dict[str, int] = {}
    getitem = h5py.Dataset.__getitem__

    def counted(self: h5py.Dataset, *args: Any, **options: Any) -> Any:
        found = getitem(self, *args, **options)
        cells[self.name] = cells.get(self.name, 0) + np.size(found)
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    assert len(store_at(path).mains()) == 6
    assert cells == {
        "/Position_Indices": 100_000,
        "/Position_Values": 100_000,
        "/Spectroscopic_Indices": 40,
        "/Spectroscopic_Values": 40,
    }
    cells.clear()
    store_at(path).open_main("/Raw_Data")
    assert cells["/Raw_Data"] <= 8 * 1024
    assert cells["/Position_Indices"] < 110_000


def test_order_of_variation_does_not_matter_for_big_files(tmp_path: pathlib.Path) -> None:
    """1e5 positions in a snake: the fold keeps its order, the blocks come out right."""
    rows, columns = 250, 400
    place = np.arange(rows * columns).reshape(rows, columns)
    y, x = np.divmod(place, columns)
    x[1::2] = x[1::2, ::-1]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        values = np.arange(rows * columns, dtype="f4")[:, None] * [[1, 2]]
        main = made_main(file, "Raw_Data", rows=4, columns=2)
        attrs = dict(main.attrs)
        del file["Raw_Data"], file["Position_Indices"], file["Position_Values"]
        main = file.create_dataset("Raw_Data", data=values, chunks=(1000, 2), compression="lzf")
        main.attrs.update(attrs)
        for name in ("Position_Indices", "Position_Values"):
            file[name] = np.stack([x.ravel(), y.ravel()], 1)
            file[name].attrs["labels"] = [b"X", b"Y"]
            file[name].attrs["units"] = [b"um", b"um"]
            main.attrs[name] = file[name].ref
    stored = store_at(tmp_path / "a.h5").open_main("/Raw_Data")
    assert stored.spec.dims == ("Y", "X", "V")
    expected = np.empty((rows, columns, 2))
    expected[y, x] = values.reshape(rows, columns, 2)
    np.testing.assert_array_equal(stored.array[()], expected)
    np.testing.assert_array_equal(stored.array[3:90:4, 17], expected[3:90:4, 17])


def test_blocks_are_whole_chunks_of_the_file(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        main = made_main(file, "Raw_Data", rows=3000, columns=4000)
        attrs = dict(main.attrs)
        del file["Raw_Data"]
        main = file.create_dataset("Raw_Data", (3000, 4000), "f8", chunks=(700, 10))
        main.attrs.update(attrs)
    rows, columns = store_at(tmp_path / "a.h5").open_main("/Raw_Data").chunks
    assert rows % 700 == 0
    assert columns == 4000


# -- identity -------------------------------------------------------------------------------------


def identity(path: pathlib.Path, main: str = "/Raw_Data") -> str:
    return store_at(path).open_main(main).identity


def test_identity_survives_copies_and_neighbours(tmp_path: pathlib.Path) -> None:
    one, two = tmp_path / "a.h5", tmp_path / "b.h5"
    with h5py.File(one, "w") as file:
        made_main(file, "Raw_Data", rows=5000)
    before = identity(one)
    shutil.copy(one, two)
    os.utime(two, (1, 1))
    assert identity(two) == before
    with h5py.File(one, "r+") as file:
        file["Raw_Data-Fit_000/x"] = np.zeros(1000)
        file["Raw_Data"].attrs["note"] = "seen"
    assert identity(one) == before
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["before"] = np.zeros(999)
        made_main(file, "Raw_Data", rows=5000)
    assert identity(tmp_path / "c.h5") == before


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file["Raw_Data"].write_direct(np.full((5000, 4), 3, "f4")),
        lambda file: file["Position_Values"].__setitem__((0, 0), 17),
        lambda file: file["Spectroscopic_Values"].__setitem__((0, 1), 17),
        lambda file: file["Position_Indices"].attrs.__setitem__("labels", [b"Y"]),
        lambda file: file.move("Raw_Data", "Other"),
    ],
)
def test_identity_tells_others_apart(
    tmp_path: pathlib.Path, change: Callable[[h5py.File], None]
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_main(file, "Raw_Data", rows=5000)
    before = identity(path)
    with h5py.File(path, "r+") as file:
        change(file)
        (name,) = {"Raw_Data", "Other"} & set(file)
    assert identity(path, f"/{name}") != before


def test_a_stored_main_can_be_pickled(pyusid: pathlib.Path) -> None:
    stored = store_at(pyusid / "20_process_results.h5").open_main(f"{RAW}-Mean_Gain_001/Mean")
    again = pickle.loads(pickle.dumps((stored.array, stored.completed)))
    np.testing.assert_array_equal(again[0][1], stored.array[(1,)])
    assert stored.completed is not None
    np.testing.assert_array_equal(again[1][0:2], stored.completed[(slice(0, 2),)])


# -- results --------------------------------------------------------------------------------------


def entries(path: pathlib.Path) -> dict[str, MainEntry]:
    return {entry.path: entry for entry in store_at(path).mains()}


def test_results_of_pyusid(pyusid: pathlib.Path) -> None:
    store = store_at(pyusid / "20_process_results.h5")
    records = store.results(RAW)
    assert [record.name for record in records] == [f"Raw_Data-Mean_Gain_00{n}" for n in range(4)]
    assert [record.status for record in records] == ["complete", "partial", "partial", "complete"]
    assert [(record.done, record.total) for record in records] == [
        (15, 15),
        (8, 15),
        (6, 15),
        (15, 15),
    ]
    second = records[1]
    assert (second.main, second.tool, second.index) == ("Raw_Data", "Mean_Gain", 1)
    assert second.sources == (("", RAW),)
    assert second.mains == (f"{RAW}-Mean_Gain_001/Mean",)
    assert set(second.parameters) == {"gain", "mode", "vec"}
    assert second.parameters["gain"] == 3.0
    assert second.attrs["source_000"] == RAW
    assert second.version is None
    assert second.fingerprint is None
    assert store.result(second.group).parameters["mode"] == "mean"
    listed = entries(pyusid / "20_process_results.h5")
    assert [entry.status for entry in listed.values()] == [
        "complete",
        "complete",
        "partial (53 %)",
        "partial (40 %)",
        "complete",
    ]
    assert [entry.kind for entry in listed.values()] == ["raw"] + ["result"] * 4


def test_marks_are_trusted_over_the_last_pixel(pyusid: pathlib.Path) -> None:
    """pyUSID sets last_pixel to all positions in groups that it only looked at."""
    store = store_at(pyusid / "20b_process_results_touched_by_check.h5")
    assert [record.status for record in store.results(RAW)] == [
        "complete",
        "partial",
        "partial",
        "complete",
    ]
    assert all(
        record.status == "complete"
        for record in store_at(pyusid / "20d_process_results_finished.h5").results(RAW)
    )


def test_which_positions_of_a_partial_result_are_there(pyusid: pathlib.Path) -> None:
    store = store_at(pyusid / "20_process_results.h5")
    for number, done in ((1, 8), (2, 6)):
        completed = store.open_main(f"{RAW}-Mean_Gain_00{number}/Mean").completed
        assert completed is not None
        assert (completed.shape, completed.dtype) == ((3, 5), np.dtype(bool))
        expected = (np.arange(15) < done).reshape(3, 5)
        np.testing.assert_array_equal(completed[0:3, 0:5], expected)
        np.testing.assert_array_equal(completed[1, ::2], expected[1, ::2])
        assert completed.__dask_tokenize__()
    assert store.open_main(f"{RAW}-Mean_Gain_000/Mean").completed is None
    assert store.open_main(RAW).completed is None


def test_several_mains_with_marks_of_their_own(pyusid: pathlib.Path) -> None:
    store = store_at(pyusid / "29_bglib_fitter_status_names.h5")
    (record,) = store.results(RAW)
    assert (record.status, record.done, record.total) == ("partial", 23, 30)
    guess = store.open_main(f"{record.group}/Guess").completed
    fit = store.open_main(f"{record.group}/Fit").completed
    assert guess is not None
    assert fit is not None
    assert guess[()].all()
    assert fit[()].sum() == 8
    listed = entries(pyusid / "29_bglib_fitter_status_names.h5")
    assert listed[f"{record.group}/Guess"].status == "complete"
    assert listed[f"{record.group}/Fit"].status == "partial (53 %)"


def test_a_group_that_says_nothing_of_completion(pyusid: pathlib.Path) -> None:
    (record,) = store_at(pyusid / "23_guess_fit_create_empty_dataset.h5").results(RAW)
    assert (record.status, record.done, record.total) == ("unknown", 0, 30)


def test_a_result_in_another_file(tmp_path: pathlib.Path, pyusid: pathlib.Path) -> None:
    path = shutil.copy(pyusid / "21_results_in_other_file.h5", tmp_path)
    record = store_at(path).result("/Raw_Data-Mean_Gain_000")
    ((store, main),) = record.sources
    assert store.endswith("02_4d_slow_to_fast.h5")
    assert main == RAW
    assert not {"source_file_path", "source_dataset_path"} & set(record.parameters)
    shutil.copy(pyusid / "02_4d_slow_to_fast.h5", tmp_path)
    beside = store_at(path).result("/Raw_Data-Mean_Gain_000").sources
    assert beside == ((str(tmp_path / "02_4d_slow_to_fast.h5"), RAW),)


def marked(marks: list[int]) -> np.ndarray:
    return np.array(marks, "u1")


@pytest.fixture
def made_results(tmp_path: pathlib.Path) -> tuple[pathlib.Path, Any]:
    """A file with a source of 6 positions, and a function that adds result groups to it."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_main(file, "g/Raw_Data")
        made_main(file, "g/Raw_Data_2", file["g/Raw_Data"])

    def add(name: str, rows: int = 6, marks: Any = None, **attrs: Any) -> str:
        with h5py.File(path, "r+") as file:
            if rows == 6:
                made_main(file, f"g/{name}/Fit", file["g/Raw_Data"])
            elif rows:
                made_main(file, f"g/{name}/Fit", rows=rows)
            group = file.require_group(f"g/{name}")
            group.attrs.update(attrs)
            if marks is not None:
                group["completed_positions"] = np.asarray(marks)
        return f"/g/{name}"

    return path, add


@pytest.mark.parametrize(
    ("attrs", "marks", "expected"),
    [
        ({}, marked([1, 1, 1, 1, 1, 1]), ("complete", 6, 6)),
        ({"last_pixel": 6, "usid_status": "complete"}, marked([1, 0] * 3), ("partial", 3, 6)),
        ({"last_pixel": 2}, marked([1] * 6), ("complete", 6, 6)),
        ({}, np.zeros((6, 2), "u1"), ("unknown", 0, 6)),
        ({}, np.zeros(6, "f4"), ("unknown", 0, 6)),
        ({"usid_status": "complete"}, None, ("complete", 6, 6)),
        ({"usid_status": "partial"}, None, ("partial", 0, 6)),
        ({"last_pixel": 6}, None, ("complete", 6, 6)),
        ({"last_pixel": np.int32(5)}, None, ("complete", 6, 6)),
        ({"last_pixel": 2}, None, ("partial", 2, 6)),
        ({"last_pixel": 0}, None, ("partial", 0, 6)),
        ({}, None, ("unknown", 0, 6)),
    ],
)
def test_status_of_a_group(
    made_results: Any, attrs: dict[str, Any], marks: Any, expected: tuple[str, int, int]
) -> None:
    path, add = made_results
    record = store_at(path).result(add("Raw_Data-Fit_000", marks=marks, **attrs))
    assert (record.status, record.done, record.total) == expected


def test_groups_without_mains_and_of_other_sizes(made_results: Any) -> None:
    path, add = made_results
    store = store_at(path)
    empty = store.result(add("Raw_Data-Fit_000", rows=0, marks=np.zeros(6, "u1")))
    assert (empty.status, empty.done, empty.total, empty.mains) == ("partial", 0, 6, ())
    nothing = store.result(add("Raw_Data-Fit_001", rows=0))
    assert (nothing.status, nothing.total) == ("unknown", 0)
    # the last pixel counts positions of the source, of which this result has fewer
    other = add("Raw_Data-PCA_000", rows=3, last_pixel=3)
    assert store.result(other).status == "partial"
    assert store.open_main(f"{other}/Fit").completed is None


def test_groups_are_matched_by_their_exact_names(made_results: Any) -> None:
    path, add = made_results
    for name in ("Raw_Data-Fit_000", "Raw_Data_2-Fit_000", "Raw_Data-Fit_old", "Raw_Data-Fit_10"):
        add(name)
    add("Raw_Data-Fit_012", timestamp="2020_01_01-00_00_00")
    add("Raw_Data-Fit_003", timestamp="2021_01_01-00_00_00")
    store = store_at(path)
    names = [record.name for record in store.results("/g/Raw_Data")]
    assert names == ["Raw_Data-Fit_000", "Raw_Data-Fit_012", "Raw_Data-Fit_003"]
    assert [record.name for record in store.results("/g/Raw_Data_2")] == ["Raw_Data_2-Fit_000"]
    assert store.results("/nowhere/Raw_Data") == ()
    kinds = {path: entry.kind for path, entry in entries(path).items()}
    assert kinds["/g/Raw_Data-Fit_000/Fit"] == "result"
    assert kinds["/g/Raw_Data-Fit_old/Fit"] == "raw"
    with pytest.raises(MainNotFoundError, match=r"did you mean 'Raw_Data-Fit_012'"):
        store.result("/g/Raw_Data-Fit_011")
    with pytest.raises(MainNotFoundError, match="is no result group"):
        store.result("/g/Raw_Data-Fit_old")


def test_a_group_with_a_name_of_its_own_that_says_what_it_is(made_results: Any) -> None:
    path, add = made_results
    group = add("my_fits_4", tool="Fitter", k=3)
    with h5py.File(path, "r+") as file:
        file[group].attrs["source_000"] = file["g/Raw_Data"].ref
    record = store_at(path).result(group)
    assert (record.main, record.tool, record.index) == ("Raw_Data", "Fitter", 4)
    assert record.parameters == {"k": 3}
    assert entries(path)["/g/my_fits_4/Fit"].kind == "result"


def test_sources_fall_back_on_the_name(made_results: Any) -> None:
    path, add = made_results
    group = add("Raw_Data-Fit_000")
    assert store_at(path).result(group).sources == (("", "/g/Raw_Data"),)
    with h5py.File(path, "r+") as file:
        gone = file.create_dataset("gone", data=[1])
        file[group].attrs["source_000"] = gone.ref
        file[group].attrs["source_001"] = file["g/Raw_Data_2"].ref
        del file["gone"], gone
    assert store_at(path).result(group).sources == (("", "/g/Raw_Data_2"),)


def test_what_usidx_notes_is_read_back_exactly(made_results: Any) -> None:
    path, add = made_results
    group = add(
        "Raw_Data-Fit_000",
        usid_parameters='{"along": "V", "limits": [1, 2.5], "none": null}',
        usid_version="2",
        usid_fingerprint="abc",
        along="V",
        machine_id="here",
    )
    record = store_at(path).result(group)
    assert record.parameters == {"along": "V", "limits": [1, 2.5], "none": None}
    assert (record.version, record.fingerprint) == ("2", "abc")
    broken = add("Raw_Data-Fit_001", usid_parameters="{", along="V", machine_id="here")
    assert store_at(path).result(broken).parameters == {"along": "V"}


def test_completion_follows_the_order_of_the_rows(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        main = made_main(file, "Raw_Data-Fit_000/Fit")
        for name in ("Position_Indices", "Position_Values"):
            file[f"Raw_Data-Fit_000/{name}"][...] = np.array([[5, 3, 4, 0, 1, 2]]).T
        main.parent["completed_positions"] = marked([1, 1, 0, 0, 0, 0])
    stored = store_at(path).open_main("/Raw_Data-Fit_000/Fit")
    assert stored.completed is not None
    assert stored.completed[()].tolist() == [False, False, False, True, False, True]
    assert stored.array[5, 0] == 0
    with h5py.File(path, "r+") as file:
        del file["Raw_Data-Fit_000/completed_positions"]
        file["Raw_Data-Fit_000"].attrs["last_pixel"] = 2
    stored = store_at(path).open_main("/Raw_Data-Fit_000/Fit")
    assert stored.completed is not None
    assert stored.completed[()].tolist() == [False, False, False, True, False, True]


# -- files that cannot be read --------------------------------------------------------------------


def test_what_is_at_a_path_is_told_by_its_content(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"no file or folder .*nothing\.h5"):
        store_at(tmp_path / "nothing.h5")
    with h5py.File(tmp_path / "scan.dat", "w", userblock_size=2048) as file:
        made_main(file, "Raw_Data")
    assert len(store_at(tmp_path / "scan.dat").mains()) == 1
    with pytest.raises(StoreNotFoundError, match=r"did you mean 'scan.dat'"):
        store_at(tmp_path / "scan.da")
    with pytest.raises(StoreNotFoundError, match="does not exist either"):
        store_at(tmp_path / "none" / "scan.h5")
    (tmp_path / "text.h5").write_text("X,Y\n1,2\n")
    with pytest.raises(NotUsidError, match="neither an HDF5 file nor a Zarr group"):
        store_at(tmp_path / "text.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(NotUsidError, match="is empty"):
        store_at(tmp_path / "empty.h5")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotUsidError, match=r"a folder that is no Zarr group.*zarr\.json"):
        store_at(tmp_path / "folder")
    (tmp_path / "folder" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    assert store_at(tmp_path / "folder").path == str(tmp_path / "folder")


def test_a_store_that_goes_away(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made_main(file, "Raw_Data")
    store = store_at(tmp_path / "a.h5")
    (tmp_path / "a.h5").unlink()
    with pytest.raises(StoreNotFoundError, match=r"a\.h5"):
        store.mains()
    (tmp_path / "a.h5").mkdir()
    with pytest.raises(NotUsidError, match="is a folder"):
        store.mains()


def test_an_hdf5_file_without_mains(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = np.zeros((3, 4))
    with pytest.raises(NotUsidError, match="without any Main.*Position_Indices"):
        store_at(tmp_path / "a.h5").mains()
    h5py.File(tmp_path / "b.h5", "w").close()
    with pytest.raises(NotUsidError, match="an empty HDF5 file"):
        store_at(tmp_path / "b.h5").mains()


@pytest.mark.parametrize("size", [600, 1500, 4000])
def test_a_file_that_was_cut_short(tmp_path: pathlib.Path, size: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_main(file, "Raw_Data", rows=500)
    os.truncate(path, size)
    with pytest.raises(DamagedStoreError, match=r"a\.h5.*cut short"):
        store_at(path).mains()
    with pytest.raises(DamagedStoreError, match=r"a\.h5.*cut short"):
        store_at(path).open_main("/Raw_Data")


READ_DAMAGED = """
import pathlib, sys
import numpy as np
from usidx.errors import UsidError
from usidx.stores import store_at

path = pathlib.Path(sys.argv[1])
whole = path.read_bytes()
random = np.random.default_rng(3)
for _ in range(150):
    data = bytearray(whole)
    for place in random.integers(8, len(whole), 12):
        data[place] ^= 1 << int(random.integers(8))
    path.write_bytes(data)
    try:
        store = store_at(path)
        store.mains()
        store.open_main("/g/Raw_Data").array[()]
        print("read", flush=True)
    except UsidError:
        print("refused", flush=True)
"""


def test_metadata_that_make_no_sense(tmp_path: pathlib.Path) -> None:
    """Whatever is wrong in the bytes, no error of h5py gets through."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_main(file, "g/Raw_Data")
        made_main(file, "g/Raw_Data-Fit_000/Fit", file["g/Raw_Data"])
    command = [sys.executable, "-c", READ_DAMAGED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stderr, done.stderr
    # HDF5 itself may crash on such a file, which is why this is a process of its own
    assert "refused" in done.stdout
    assert "read" in done.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_permission_denied(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made_main(file, "Raw_Data")
    (tmp_path / "a.h5").chmod(0)
    with pytest.raises(StoreAccessError, match=r"a\.h5.*may not be read"):
        store_at(tmp_path / "a.h5")


def test_permission_denied_by_the_system(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made_main(file, "Raw_Data")
    store = store_at(tmp_path / "a.h5")

    def denied(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", denied)
    with pytest.raises(StoreAccessError, match=r"a\.h5.*may not be read"):
        store.mains()


def test_a_file_that_another_program_writes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_main(file, "Raw_Data")
    code = (
        "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        locked = pytest.raises(StoreLockedError, match="open for writing in another program")
        with locked, read.open_file(str(path), timeout=0.05):
            pass
        other.stdin.close()
        with read.open_file(str(path), timeout=20) as file:
            assert "Raw_Data" in file


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_handle_stays_open(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_main(file, "Raw_Data")
    store = store_at(path)
    kept = [store.mains(), store.open_main("/Raw_Data"), store.results("/Raw_Data")]
    with pytest.raises(InvalidMainError):
        store.open_main("/Position_Indices")
    held = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
    assert str(path) not in held
    with h5py.File(path, "r+") as file:
        file.attrs["written"] = True
    assert kept


def test_a_big_index_matrix_is_read_in_bounded_memory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from usidx.stores.hdf5.objects import ancillaries

    monkeypatch.setattr(ancillaries, "_WHOLE_BYTES", 1000)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_main(file, "Raw_Data", rows=2000, columns=500)
    spec = store_at(path).open_main("/Raw_Data").spec
    assert spec.shape == (2000, 500)
    assert isinstance(spec.spectroscopic, Grid)
    assert spec.spectroscopic.dimensions[0].values.tolist() == list(range(500))
