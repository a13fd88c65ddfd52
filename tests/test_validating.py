"""What `usidx.validate` finds in real files, in files with one thing wrong, and in hostile ones."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import struct
from collections.abc import Callable

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import usidx
from tests.hostile.make import CHANNEL, MAIN, add_main
from usidx.cli import main as command_line
from usidx.errors import OptionError, StoreNotFoundError
from usidx.validating import contained
from usidx.validating.report import Report

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "shared" / "samples" / "h5usid"

# What is wrong with each sample, by what its notes say was done to it: (grade, place, words of what
# is found). Places are seen from the channel. Files that are not named here have nothing wrong.
_POSITION = "note", "Position_Indices"
_SPECTROSCOPIC = "note", "Spectroscopic_Indices"
_ANCILLARIES = (
    "Position_Indices",
    "Position_Values",
    "Spectroscopic_Indices",
    "Spectroscopic_Values",
)
EXPECTED: dict[str, list[tuple[str, str, str]]] = {
    "11_sparse_DimType_INCOMPLETE": [(*_POSITION, "indices of its own")],
    "11b_sparse_incomplete_dimensions_attr_h5py": [
        (*_POSITION, "indices of its own"),
        ("note", "Position_Indices@incomplete_dimensions", "X, Y"),
        ("note", "Position_Values@incomplete_dimensions", "X, Y"),
    ],
    "12_incomplete_raster_h5py": [(*_POSITION, "13 rows fill a part of the 15 cells")],
    "13_dependent_values_regular_indices": [
        ("note", "Spectroscopic_Values", "values of 'DC_Offset' that change with FORC")
    ],
    "13b_dependent_extra_dim_h5py": [(*_SPECTROSCOPIC, "'AC_Amplitude' that follows Step")],
    "13d_forc_index_never_resets_h5py": [(*_SPECTROSCOPIC, "DC_Offset does not start again")],
    "14b_random_order_h5py": [
        (*_POSITION, "rows that are not in the order"),
        (*_SPECTROSCOPIC, "columns that are not in the order"),
    ],
    "15_not_quite_main_h5py": [
        ("error", "dangling@Position_Values", "a dangling reference"),
        ("error", "no_pos@Position_Indices", "nothing"),
        ("error", "no_pos@Position_Values", "nothing"),
        ("error", "no_spec_vals@Spectroscopic_Values", "nothing"),
        ("error", "no_units@units", "nothing"),
        ("error", "null_ref@Position_Values", "a null reference"),
        ("error", "quantity_number@quantity", "the number 3"),
        ("error", "ref_to_group@Position_Values", "a reference to a group"),
        ("warning", "refs_1elem_array@Position_Indices", "a list of 1 reference"),
        ("warning", "refs_1elem_array@Position_Values", "a list of 1 reference"),
        ("error", "size_mismatch@Position_Indices", "the shape (15, 2)"),
        ("error", "size_mismatch@Position_Values", "the shape (15, 2)"),
        ("warning", "swapped_inds_vals@Position_Indices", "indices of type float32"),
        ("error", "three_d", "values of shape (15, 4, 7)"),
        ("warning", "units_1elem_array@units", "a list of 1 text"),
        ("note", "units_empty@units", "an empty text"),
    ],
    "16_duplicate_label_pos_spec": [
        ("note", "Spectroscopic_Indices@labels", "'X'"),
        ("note", "Spectroscopic_Indices@labels", "'Y'"),
    ],
    "16_labels_padded_h5py": [
        *(("warning", f"{each}@labels", "  '") for each in _ANCILLARIES),
        *(("note", f"{each}@units", "  '") for each in _ANCILLARIES),
    ],
    "16_labels_scalar_h5py": [
        ("warning", f"{each}@{name}", "by itself")
        for each in _ANCILLARIES
        for name in ("labels", "units")
    ],
    # pyUSID failed after it had written the ancillaries of one side
    "16_nonascii_units_pyUSID": [("error", "/", "no dataset with references")],
    "17_indices_offset_and_dtypes_h5py": [
        (*_POSITION, "int64"),
        (*_POSITION, "indices of Y, X that are not 0, 1, 2"),
        (*_SPECTROSCOPIC, "float64"),
        (*_SPECTROSCOPIC, "indices of Bias, Frequency that are not 0, 1, 2"),
    ],
    "20_process_results": [
        ("note", "Raw_Data-Mean_Gain_001/completed_positions", "8 of 15"),
        ("note", "Raw_Data-Mean_Gain_002@last_pixel", "nothing but last_pixel"),
    ],
    "20b_process_results_touched_by_check": [
        ("note", "Raw_Data-Mean_Gain_001/completed_positions", "8 of 15"),
        ("note", "Raw_Data-Mean_Gain_001@last_pixel", "15, with 8 positions marked"),
        ("note", "Raw_Data-Mean_Gain_002/completed_positions", "6 of 15"),
    ],
    "23_guess_fit_create_empty_dataset": [("note", "Raw_Data-SHO_Fit_000", "nothing tells")],
    "29_bglib_fitter_status_names": [
        ("note", "Raw_Data-SHO_Fit_000/completed_fit_positions", "8 of 15"),
        ("note", "Raw_Data-SHO_Fit_000@last_pixel", "0, with 8 and 15"),
    ],
    "Signal_SI__df40204b": [
        ("note", f"../Channel_001/Raw_Data-{tool}@last_pixel", "nothing but last_pixel")
        for tool in ("Cluster_000", "Decomposition_000", "Decomposition_001", "SVD_000")
    ],
    "SingFreqPFM_0003__78de268c": [("note", "..@pycroscopy_version", "pycroscopy 0.60.0")],
    "bfo_iv_final__a0e21b22": [("error", "/", "no dataset with references")],  # NSID
    "chip__64ac4d35": [
        ("note", "..@pycroscopy_version", "pycroscopy 0.60.0"),
        *(("note", f"{each}@units", "' m\\n'") for each in _ANCILLARIES),
    ],
    "sparse_sampling__8e91f113": [
        (*_POSITION, "indices of its own"),
        ("note", "../Channel_001/Position_Indices", "indices of its own"),
        ("note", "../Channel_001/Position_Indices@incomplete_dimensions", "X, Y"),
        ("note", "../Channel_001/Position_Values@incomplete_dimensions", "X, Y"),
        ("warning", "Raw_Data-Simple_Process_000", "marks only"),
    ],
}


def samples_to_check() -> list[pathlib.Path]:
    return sorted([*FOLDER.glob("*/*.h5"), *FOLDER.glob("*/*.hf5")])


def whole(place: str) -> str:
    """A place of the table as a path."""
    if place.startswith("/"):
        return place
    path, at, attribute = place.partition("@")
    return os.path.normpath(f"{CHANNEL}/{path}") + at + attribute


@pytest.mark.parametrize("path", samples_to_check(), ids=lambda path: path.stem)
def test_samples(path: pathlib.Path) -> None:
    """What is wrong with each, and nothing else."""
    report = usidx.validate(path, values=True, limit=None)
    expected = EXPECTED.get(path.stem, [])
    found = [(each.grade, each.place) for each in report.violations]
    assert sorted(found) == sorted((grade, whole(place)) for grade, place, _ in expected)
    for grade, place, words in expected:
        assert any(
            each.grade == grade and each.place == whole(place) and words in each.found
            for each in report.violations
        ), f"{place}: {words}"
    assert all(each.expected and each.mend for each in report.violations)


def test_every_sample_of_the_table_is_there(samples: pathlib.Path) -> None:
    assert EXPECTED.keys() <= {path.stem for path in samples_to_check()}
    assert len(samples_to_check()) == 51


# -- one thing wrong -------------------------------------------------------------------------------


def texts(*said: str) -> np.ndarray:
    return np.array([each.encode() for each in said])


def no_main(file: h5py.File) -> None:
    del file["Measurement_000"]
    file["image"] = np.zeros((3, 4))


def lost_references(file: h5py.File) -> None:
    for name in _ANCILLARIES:
        del file[MAIN].attrs[name]
    add_main(file, "/Measurement_001/Channel_000/Raw_Data")


def latin(file: h5py.File) -> None:
    kind = h5py.string_dtype("ascii", 2)
    for name in ("Position_Indices", "Position_Values"):
        file[f"{CHANNEL}/{name}"].attrs.create("units", np.array([b"\xb5m"]), dtype=kind)


def comma_joined(file: h5py.File) -> None:
    ancillaries = {}
    for number, name in enumerate(_ANCILLARIES[:2]):
        values = np.array([[0, 0], [0, 1], [0, 2]]).astype(("u4", "f4")[number])
        ancillaries[name] = file.create_dataset(f"two/{name}", data=values)
    add_main(file, "/two/Raw_Data", ancillaries=ancillaries)
    for each in ancillaries.values():
        each.attrs["labels"] = "Y, X"
        each.attrs["units"] = texts("m", "m")


def same_label_twice(file: h5py.File) -> None:
    comma_joined(file)
    for name in _ANCILLARIES[:2]:
        file[f"two/{name}"].attrs["labels"] = texts("X", "X")


def text_as_ancillary(file: h5py.File) -> None:
    made = file.create_dataset("t", data=texts("a", "b", "c")[:, None])
    made.attrs.update({"labels": texts("X"), "units": texts("m")})
    file[MAIN].attrs["Position_Values"] = made.ref


def odd_marks(file: h5py.File) -> None:
    add_result(file, marks=np.array([0, 1, 7], "u1"))


def marks_of_another_size(file: h5py.File) -> None:
    add_result(file, marks=np.ones(5, "u1"))


def marks_of_bool(file: h5py.File) -> None:
    add_result(file, marks=np.ones(3, bool))


def add_result(
    file: h5py.File, name: str = f"{MAIN}-Fit_000", marks: np.ndarray | None = None
) -> h5py.Group:
    add_main(file, f"{name}/Fit")
    group = file[name]
    group.attrs.update({"tool": "Fit", "source_000": file[MAIN].ref})
    group["completed_positions"] = np.ones(3, "u1") if marks is None else marks
    return group


def empty_result(file: h5py.File) -> None:
    group = file.create_group(f"{MAIN}-Fit_000")
    group.attrs.update({"tool": "Fit", "source_000": file[MAIN].ref})


def dangling_source(file: h5py.File) -> None:
    gone = file.create_dataset("gone", data=np.zeros((3, 4)))
    add_result(file).attrs["source_000"] = gone.ref
    del file["gone"]


def orphan(file: h5py.File) -> None:
    del add_result(file, "/elsewhere/Old_Data-Fit_000").attrs["source_000"]


def without_tool(file: h5py.File) -> None:
    group = add_result(file)
    del group.attrs["tool"]
    del group.attrs["source_000"]


def misnamed(file: h5py.File) -> None:
    file.create_group(f"{MAIN}-Fit_old")
    add_main(file, "/Measurement_000/Channel_000/Raw_Data_2")
    file.create_group(f"{MAIN}_2-Fit")


def dead_link(file: h5py.File) -> None:
    file["gone"] = h5py.SoftLink("/nowhere")
    file["fine"] = h5py.SoftLink(MAIN)
    file["also"] = file[CHANNEL]


def raw_measurement(file: h5py.File) -> None:
    file.move("/Measurement_000", "/Raw_Measurement")
    file.attrs["Pycroscopy version"] = "0.59"


def never_written(file: h5py.File) -> None:
    add_main(file, "/Measurement_001/Channel_000/Raw_Data", chunks=(3, 4))


FIT = f"{MAIN}-Fit_000"
CASES: list[tuple[Callable[[h5py.File], None], list[tuple[str, str]]]] = [
    (no_main, [("error", "/")]),
    (lost_references, [("note", MAIN)]),
    (latin, [("warning", f"{CHANNEL}/{each}@units") for each in _ANCILLARIES[:2]]),
    (
        comma_joined,
        [
            ("warning", f"/two/{each}@labels")
            for each in _ANCILLARIES[:2]
            for _ in range(2)  # one for two, and no list
        ],
    ),
    (same_label_twice, [("warning", "/two/Position_Indices@labels")]),
    (text_as_ancillary, [("error", "/t")]),
    (
        odd_marks,
        [("warning", f"{FIT}/completed_positions")] + [("note", f"{FIT}/completed_positions")],
    ),
    (marks_of_another_size, [("note", FIT), ("warning", f"{FIT}/completed_positions")]),
    (marks_of_bool, [("warning", f"{FIT}/completed_positions")]),
    (empty_result, [("warning", FIT)]),
    (dangling_source, [("warning", f"{FIT}@source_000")]),
    (orphan, [("warning", "/elsewhere/Old_Data-Fit_000@source_000")]),
    (without_tool, [("note", f"{FIT}@source_000"), ("note", f"{FIT}@tool")]),
    (misnamed, [("warning", f"{MAIN}-Fit_old"), ("warning", f"{MAIN}_2-Fit")]),
    (dead_link, [("note", "/gone")]),
    (raw_measurement, [("note", "/@Pycroscopy version"), ("note", "/Raw_Measurement")]),
    (never_written, [("note", "/Measurement_001/Channel_000/Raw_Data")]),
]


@pytest.mark.parametrize(
    ("spoil", "expected"), CASES, ids=lambda each: getattr(each, "__name__", "")
)
def test_one_thing_wrong(
    spoil: Callable[[h5py.File], None], expected: list[tuple[str, str]], tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        spoil(file)
    report = usidx.validate(path, limit=None)
    assert sorted((each.grade, each.place) for each in report.violations) == sorted(expected)


def test_flipped_values_are_found_by_their_checksum(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file, chunks=(3, 4), fletcher32=True, data=np.arange(12, dtype="u1").reshape(3, 4))
        place = file[MAIN].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    assert usidx.validate(path, limit=None).ok
    (error,) = usidx.validate(path, limit=None, values=True).errors
    assert error.place == MAIN
    assert "cannot be read" in error.found


def test_chunks_outside_the_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file, chunks=(3, 4), data=np.arange(12, dtype="u1").reshape(3, 4))
        place = file[MAIN].id.get_chunk_info(0).byte_offset
    data = path.read_bytes().replace(struct.pack("<Q", place), struct.pack("<Q", 2**40))
    path.write_bytes(data)
    (error,) = usidx.validate(path, limit=None).errors
    assert error.place == MAIN
    assert str(2**40) in error.found


# -- in a process of its own -----------------------------------------------------------------------


@pytest.fixture
def fine(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        add_result(file)
    return path


def test_the_same_is_found_in_a_process_of_its_own(fine: pathlib.Path) -> None:
    with h5py.File(fine, "r+") as file:
        file[MAIN].attrs["units"] = 3
    report = usidx.validate(fine)
    assert report == usidx.validate(fine, limit=None)
    assert [each.place for each in report.errors] == [f"{MAIN}@units"]
    assert report.findings.mains == (f"{FIT}/Fit",)
    assert report.findings.results == (FIT,)


def test_a_hang_of_hdf5_is_an_error(tmp_path: pathlib.Path) -> None:
    """A heap of texts that HDF5 reads forever, in a file that is too large to look for such."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["large"] = np.zeros(9 * 2**20, "u1")
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL") + 16
    while (head := struct.unpack_from("<HHIQ", data, place))[0]:
        place += 16 + (head[3] + 7) // 8 * 8
    struct.pack_into("<Q", data, place + 8, 0)
    path.write_bytes(data)
    (error,) = usidx.validate(path, limit=4).errors
    assert "did not end within 4 s" in error.found
    # in a small one it is looked for
    path.write_bytes(data[: place + 16] + bytes(2**12))
    assert not usidx.validate(path, limit=None).ok


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "a crash of HDF5.*SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the system killed"),
        ("raise RuntimeError('odd')", "a check that failed .RuntimeError: odd"),
        ("""print('{"raised": "MemoryError", "said": "7"}')""", "more than 7 bytes of memory"),
        ("import time; time.sleep(9)", "did not end within 1 s"),
    ],
)
def test_how_it_may_end(
    code: str, words: str, fine: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contained, "_CHILD", code)
    (error,) = usidx.validate(fine, limit=1 if "sleep" in code else 60).violations
    assert (error.grade, error.place) == ("error", "/")
    assert re.search(words, error.found)


def test_what_cannot_be_looked_at(tmp_path: pathlib.Path, fine: pathlib.Path) -> None:
    with pytest.raises(StoreNotFoundError, match="no file or folder"):
        usidx.validate(tmp_path / "nowhere.h5")
    with pytest.raises(OptionError, match="more than 0"):
        usidx.validate(fine, limit=0)
    (tmp_path / "a.txt").write_text("no HDF5")
    for limit in (None, 60):
        (error,) = usidx.validate(tmp_path / "a.txt", limit=limit).errors
        assert "neither an HDF5 file nor a Zarr group" in error.found


# -- reports ---------------------------------------------------------------------------------------


def test_text_of_a_report(fine: pathlib.Path) -> None:
    with h5py.File(fine, "r+") as file:
        file[MAIN].attrs["units"] = 3
        file["odd\x1b[2Jname"] = h5py.SoftLink("/nowhere")
    report = usidx.validate(fine, limit=None)
    lines = str(report).splitlines()
    assert lines[0].endswith("a.h5: 1 error, 1 note (1 Main, 1 result group)")
    assert lines[1] == f"error     {MAIN}@units"
    assert [line.split()[0] for line in lines[2:5]] == ["found", "expected", "to"]
    assert "\x1b" not in str(report)
    assert "odd\\x1b[2Jname" in str(report)
    assert str(Report("/a", contained.Findings())).endswith(
        "nothing is wrong (0 Mains, 0 result groups)"
    )


def test_command_line(fine: pathlib.Path) -> None:
    done = CliRunner().invoke(command_line, ["validate", str(fine)])
    assert done.exit_code == 0
    assert "nothing is wrong (2 Mains, 1 result group)" in done.stdout
    with h5py.File(fine, "r+") as file:
        file[MAIN].attrs["units"] = 3
    done = CliRunner().invoke(command_line, ["validate", str(fine), "--json", "--limit", "50"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["ok"], told["errors"]) == (False, 1)
    assert told["violations"][0]["place"] == f"{MAIN}@units"
    assert set(told["violations"][0]) == {"place", "grade", "found", "expected", "mend"}
    assert CliRunner().invoke(command_line, ["validate"]).exit_code == 2
    assert CliRunner().invoke(command_line, ["validate", str(fine), "--limit", "0"]).exit_code == 2
    assert CliRunner().invoke(command_line, ["validate", "nowhere.h5"]).exit_code == 1


# -- USID-Zarr -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: pathlib.Path) -> pathlib.Path:
    from usidx.exporting.zarr import to_zarr

    return pathlib.Path(to_zarr(usidx.testing.make_main(), tmp_path / "a.zarr"))


def leaf_of(store: pathlib.Path) -> pathlib.Path:
    return store / MAIN.strip("/")


def chunk_of(array: pathlib.Path) -> pathlib.Path:
    return next(each for each in sorted(array.rglob("*")) if each.is_file() and "c" in each.parts)


def test_good_zarr(store: pathlib.Path) -> None:
    report = usidx.validate(store, values=True)
    assert report.violations == ()
    assert report.findings.mains == (MAIN,)


def test_zarr_without_a_chunk(store: pathlib.Path) -> None:
    chunk_of(leaf_of(store) / "Raw_Data").unlink()
    (error,) = usidx.validate(store, limit=None).errors
    assert error.place == f"{MAIN}/Raw_Data"
    assert "chunks missing" in error.found


def test_zarr_without_a_coordinate(store: pathlib.Path) -> None:
    shutil.rmtree(leaf_of(store) / "Frequency")
    (error,) = usidx.validate(store, limit=None).errors
    assert error.place == MAIN
    assert "lacks its array 'Frequency'" in error.found


def test_zarr_with_a_broken_chunk(store: pathlib.Path) -> None:
    chunk = chunk_of(leaf_of(store) / "Raw_Data")
    chunk.write_bytes(chunk.read_bytes()[:20])
    assert usidx.validate(store, limit=None).ok
    (error,) = usidx.validate(store, limit=None, values=True).errors
    assert error.place == MAIN


def test_zarr_without_mains(tmp_path: pathlib.Path) -> None:
    import zarr

    zarr.create_group(tmp_path / "a.zarr")
    (error,) = usidx.validate(tmp_path / "a.zarr", limit=None).errors
    assert error.found == "no group that describes a Main"
