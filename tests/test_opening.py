"""Opening Mains: lazily, in any form and chunks, with clear refusals."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.arrays.labels import origin_of
from usidx.errors import (
    AmbiguousMainError,
    MainNotFoundError,
    NotUsidError,
    OptionError,
    StoreNotFoundError,
)
from usidx.model.layout import Points
from usidx.opening import labelled, open_result, resolve, sole_raw
from usidx.stores.base import MainEntry, ResultRecord, StoredMain
from usidx.testing import make_main

SIGNAL = "real/Signal_SI__df40204b.h5"
CHANNELS = "real/SingFreqPFM_0003__78de268c.h5"
BEPS = "pyusid/28_beps_small_like_h5py.h5"
FITS = "pyusid/29_bglib_fitter_status_names.h5"
RANDOM = "pyusid/14b_random_order_h5py.h5"


@pytest.fixture(scope="session")
def h5usid(samples):
    return samples / "h5usid"


class Counting:
    """A block array in memory that counts the values it was asked for."""

    def __init__(self, values, name="counted"):
        self.values, self.name, self.read = values, name, 0
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, key):
        assert all(isinstance(part, (int, np.integer, slice)) for part in key)
        block = self.values[key]
        self.read += block.size
        return block

    def __dask_tokenize__(self):
        return self.name, self.shape, str(self.dtype)

    def __reduce__(self):
        raise TypeError("stays where it is")


def stored(values, *, chunks=None, completed=None, status="complete", spec=None):
    """A StoredMain over an array in memory."""
    spec = spec or make_main(values.shape, dtype="f4").usid.spec
    record = None
    if completed is not None:
        record = ResultRecord(
            store="memory",
            group="/Raw_Data-Tool_000",
            main="Raw_Data",
            tool="Tool",
            index=0,
            sources=(),
            mains=(spec.path,),
            status=status,
            done=int(completed.sum()),
            total=completed.size,
            parameters={},
            version=None,
            fingerprint=None,
            attrs={},
        )
    return StoredMain(
        store="memory",
        spec=spec,
        array=Unpickled(values),
        chunks=chunks or values.shape,
        identity="identity",
        completed=None if completed is None else Unpickled(completed, "completed"),
        result=record,
    )


class Unpickled(Counting):
    """One that pickles small, as those of stores do."""

    def __reduce__(self):
        return str, ("an array of a store",)


def test_beps_opens_with_labels_and_units(h5usid):
    array = usidx.open(h5usid / BEPS)
    assert array.dims == ("Y", "X", "Cycle", "DC_Offset", "Field", "Frequency")
    assert array.dtype == np.complex64
    assert array.attrs["quantity"] == "Cantilever Vertical Deflection"
    assert array.Frequency.attrs["units"] == "Hz"
    assert array.Frequency.attrs["usid_role"] == "spectroscopic"
    truth = np.load(h5usid / "pyusid" / "28_truth_Y_X_Cycle_DC_Field_Freq.npy")
    np.testing.assert_array_equal(array, truth)
    near = array.sel(Frequency=303.2e3, method="nearest")
    np.testing.assert_array_equal(near, truth[..., 3])


def test_nothing_is_read_and_no_file_left_open(h5usid, tmp_path):
    path = tmp_path / "scan.h5"
    shutil.copy(h5usid / SIGNAL, path)
    array = usidx.open(path, "Channel_001/Raw_Data")
    tree = usidx.open_tree(path)
    array.isel(X=0, Y=0).compute()
    folder = f"/proc/{os.getpid()}/fd"
    assert str(path) not in {os.path.realpath(f"{folder}/{each}") for each in os.listdir(folder)}
    with h5py.File(path, "r+") as file:
        file.attrs["touched"] = 1
    assert tree
    os.rename(path, tmp_path / "moved.h5")


@pytest.mark.parametrize(
    "name", ["Raw_Data", "/Measurement_000/Channel_000/Raw_Data", "l_000/Raw_Data"]
)
def test_names(h5usid, name):
    if name.startswith("l_"):
        with pytest.raises(MainNotFoundError):
            usidx.open(h5usid / BEPS, name)
    else:
        assert usidx.open(h5usid / BEPS, name).shape == (5, 5, 2, 8, 2, 9)


def entry(path, kind="raw"):
    return MainEntry(path, ("X",), (1,), "", "", np.dtype("f4"), kind, "complete")


ENTRIES = [
    entry("/Measurement_000/Channel_000/Raw_Data"),
    entry("/Measurement_000/Channel_000/Raw_Data-Fit_000/Fit", "result"),
    entry("/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000/Fit", "result"),
    entry("/Measurement_000/Channel_000/Raw_Data_2"),
]


def test_endings_match_whole_parts_of_paths():
    assert resolve(ENTRIES, "Raw_Data").path == ENTRIES[0].path
    assert resolve(ENTRIES, "Raw_Data-Fit_000/Fit").path == ENTRIES[1].path
    assert resolve(ENTRIES, "Measurement_000/Channel_000/Raw_Data_2/") is ENTRIES[3]


def test_refused_names_say_what_there_is():
    with pytest.raises(
        AmbiguousMainError, match=r"'Fit' is the ending of 2 Mains(.|\n)*SHO_Fit_000"
    ):
        resolve(ENTRIES, "Fit")
    with pytest.raises(MainNotFoundError, match=r"did you mean 'Raw_Data'"):
        resolve(ENTRIES, "Rawdata")
    with pytest.raises(MainNotFoundError, match=r"is a group(.|\n)*SHO_Fit_000/Fit"):
        resolve(ENTRIES, "Raw_Data-SHO_Fit_000")
    with pytest.raises(AmbiguousMainError, match=r"2 raw Mains(.|\n)*Raw_Data_2"):
        sole_raw(ENTRIES)
    with pytest.raises(MainNotFoundError, match=r"no raw Main(.|\n)*SHO_Fit_000/Fit"):
        sole_raw(ENTRIES[1:3])
    assert sole_raw(ENTRIES[:3]) is ENTRIES[0]
    assert sole_raw(ENTRIES[1:2]) is ENTRIES[1]
    many = [entry(f"/Measurement_000/Channel_{number:03d}/Raw_Data") for number in range(40)]
    with pytest.raises(AmbiguousMainError, match=r"and 28 more; see usidx.list_mains"):
        sole_raw(many)


def test_files_that_are_no_stores(tmp_path):
    with pytest.raises(StoreNotFoundError, match=r"nothing.h5"):
        usidx.open(tmp_path / "nothing.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(NotUsidError, match=r"neither an HDF5 file nor a Zarr group"):
        usidx.open(text)
    plain = tmp_path / "plain.h5"
    with h5py.File(plain, "w") as file:
        file["x"] = "no numbers"
    for call in (usidx.open, usidx.open_tree):
        with pytest.raises(NotUsidError, match=r"without a dataset of numbers"):
            call(plain)


def test_options_are_checked(h5usid):
    with pytest.raises(OptionError, match=r"form='2D' is not known"):
        usidx.open(h5usid / BEPS, form="2D")
    with pytest.raises(OptionError, match=r"'Freq'.*did you mean 'Frequency'"):
        usidx.open(h5usid / BEPS, chunks={"Freq": 3})
    with pytest.raises(OptionError, match=r"chunks='big' is not understood"):
        usidx.open(h5usid / BEPS, chunks="big")
    with pytest.raises(OptionError, match=r"does not fit dimensions"):
        usidx.open(h5usid / BEPS, chunks=(3, 3))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ("auto", (2, 4, 3)),
        ({}, (2, 4, 3)),
        ({"Y": 1}, (1, 4, 3)),
        ({"Y": -1, "Frequency": None}, (6, 4, 3)),
        (3, (3, 3, 3)),
        ((6, 2, 1), (6, 2, 1)),
        ({"X": (1, 3)}, (2, 3, 3)),
    ],
)
def test_chunks(chunks, expected):
    values = np.arange(72, dtype="f4").reshape(6, 4, 3)
    array = labelled(stored(values, chunks=(2, 4, 3)), chunks=chunks)
    assert tuple(max(sizes) for sizes in array.chunks) == expected
    np.testing.assert_array_equal(array, values)


def test_no_dask_on_demand():
    main = stored(np.arange(60, dtype="f4").reshape(3, 4, 5))
    array = labelled(main, chunks=None)
    assert array.chunks is None
    assert main.array.read == 0
    part = array.isel(Y=1, X=slice(0, 4, 2), Frequency=[4, 0])
    assert main.array.read == 0
    np.testing.assert_array_equal(part, main.array.values[1, ::2][:, [4, 0]])
    assert main.array.read <= 2 * 5
    np.testing.assert_array_equal(array.isel(Y=[], X=[1, 3]), np.zeros((0, 2, 5)))
    reverse = array.isel(Y=slice(None, None, -1), Frequency=slice(3, 0, -2))
    np.testing.assert_array_equal(reverse, main.array.values[::-1, :, 3:0:-2])
    points = array.isel(Y=("p", [0, 2]), X=("p", [1, 1]))
    np.testing.assert_array_equal(points, main.array.values[[0, 2], [1, 1]])


def test_as_many_tasks_as_blocks():
    values = np.arange(64 * 8 * 4, dtype="f4").reshape(64, 8, 4)
    array = labelled(stored(values, chunks=(1, 8, 4)))
    assert len(array.__dask_graph__()) == 64
    (optimised,) = dask.optimize(array.data)
    assert len(optimised.__dask_graph__()) == 64


def test_parts_read_only_parts():
    main = stored(np.arange(64 * 64 * 16, dtype="f4").reshape(64, 64, 16), chunks=(64, 64, 16))
    array = labelled(main)
    with dask.config.set(scheduler="synchronous"):
        spectrum = array.isel(Y=3, X=5).compute()
        assert main.array.read == 16
        np.testing.assert_array_equal(spectrum, main.array.values[3, 5])
        array.isel(Frequency=0, Y=slice(0, 8)).compute()
        assert main.array.read == 16 + 8 * 64
        some = array.isel(Y=0, Frequency=0, X=[5, 3, 9]).compute()
        np.testing.assert_array_equal(some, main.array.values[0, [5, 3, 9], 0])
        back = array.isel(Y=slice(None, None, -1), X=0).compute()
        np.testing.assert_array_equal(back, main.array.values[::-1, 0])
        new = array.data[3, None, ::7, 2]
        np.testing.assert_array_equal(new.compute(), main.array.values[3, None, ::7, 2])


def test_files_are_read_in_parts(h5usid, monkeypatch):
    from usidx.stores.hdf5.values.bytes import HDF5Array

    read = []
    fill = HDF5Array._fill

    def counted(self, selection, out):
        read.append(out.nbytes)
        return fill(self, selection, out)

    array = usidx.open(h5usid / SIGNAL, "Channel_001/Raw_Data")
    flat = usidx.open(h5usid / SIGNAL, "Channel_001/Raw_Data", form="2d")
    monkeypatch.setattr(HDF5Array, "_fill", counted)
    array.isel(Y=3, X=5).compute()
    array.sel(Loss=300.0, method="nearest").compute()
    flat.isel(position=77).compute()
    assert read == [512 * 4, 31 * 25 * 4, 512 * 4]


def test_names_of_graphs_follow_from_the_data(h5usid):
    first, second = (usidx.open(h5usid / BEPS).data.name for _ in range(2))
    assert first == second
    assert usidx.open(h5usid / BEPS, chunks={"Y": 1}).data.name != first


def test_opened_arrays_pickle(h5usid):
    array = usidx.open(h5usid / BEPS)
    again = pickle.loads(pickle.dumps(array))
    xr.testing.assert_identical(array.compute(), again.compute())
    assert origin_of(again) == origin_of(array)
    assert len(pickle.dumps(array)) < 100_000


def test_compound_mains_are_datasets(h5usid):
    dataset = usidx.open(h5usid / FITS, "Guess")
    assert list(dataset.data_vars)[:2] == ["Amplitude [V]", "Frequency [Hz]"]
    assert dataset["Amplitude [V]"].attrs["units"] == "V"
    assert dataset["Amplitude [V]"].attrs["quantity"] == "Amplitude"
    assert dataset.attrs["quantity"] == "SHO"
    with h5py.File(h5usid / FITS) as file:
        raw = file["/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000/Guess"][()]
    flat = usidx.open(h5usid / FITS, "Guess", form="2d")
    np.testing.assert_array_equal(flat["Phase [rad]"], raw["Phase [rad]"])


def test_one_field_reads_one_field():
    dtype = np.dtype([("a", "f4"), ("b", "i4")])
    values = np.zeros((2, 3, 4), dtype)
    values["b"] = np.arange(24).reshape(2, 3, 4)
    spec = make_main((2, 3, 4)).usid.spec
    spec = type(spec)(spec.path, "Fit", "", dtype, spec.position, spec.spectroscopic)
    asked = []

    class Fields(Unpickled):
        def only(self, field):
            asked.append(field)
            return Unpickled(self.values[field], field)

    main = stored(values, spec=spec)
    dataset = labelled(StoredMain("memory", spec, Fields(values), (2, 3, 4), "x"))
    np.testing.assert_array_equal(dataset.b, values["b"])
    assert asked == ["a", "b"]
    np.testing.assert_array_equal(labelled(main).b, values["b"])


@pytest.mark.parametrize("chunks", ["auto", None])
@pytest.mark.parametrize("form", ["nd", "2d"])
@pytest.mark.parametrize(
    ("dtype", "expected"), [("f4", "f4"), ("i2", "f4"), ("i4", "f8"), ("c8", "c8"), ("?", "f4")]
)
def test_what_is_not_computed_is_nan(dtype, expected, form, chunks):
    values = np.ones((3, 4, 5), dtype)
    completed = np.arange(12).reshape(3, 4) % 3 == 0
    main = stored(values, completed=completed, status="partial", chunks=(1, 4, 5))
    array = labelled(main, form=form, chunks=chunks)
    assert array.attrs["usid_status"] == "partial"
    assert array.dtype == np.dtype(expected)
    shape = (3, 4, 1) if form == "nd" else (12, 1)
    np.testing.assert_array_equal(
        ~np.isnan(array.values), np.broadcast_to(completed.reshape(shape), array.shape)
    )
    spectrum = array.isel(dict(zip(array.dims, (0, 0)))) if form == "nd" else array.isel(position=0)
    np.testing.assert_array_equal(spectrum, np.ones(5))


def test_complete_mains_of_partial_groups_are_whole():
    main = stored(np.ones((2, 2, 3), "i4"), completed=np.ones((2, 2), bool), status="partial")
    array = labelled(main)
    assert array.attrs["usid_status"] == "complete"
    assert array.dtype == np.dtype("i4")


def test_partial_results_of_pyusid(h5usid):
    fit = usidx.open(h5usid / FITS, "Fit")
    assert fit.attrs["usid_status"] == "partial"
    with h5py.File(h5usid / FITS) as file:
        group = file["/Measurement_000/Channel_000/Raw_Data-SHO_Fit_000"]
        raw, done = group["Fit"][()], group["completed_fit_positions"][()] == 1
    found = fit["Amplitude [V]"].values.reshape(15, 4)
    np.testing.assert_array_equal(found[done], raw["Amplitude [V]"][done])
    assert np.isnan(found[~done]).all()


@pytest.mark.parametrize("chunks", ["auto", None, {"position": 4}, {"spectroscopic": 3}])
@pytest.mark.parametrize("file", [BEPS, RANDOM, SIGNAL])
def test_2d_has_the_rows_of_the_file(h5usid, file, chunks):
    path = usidx.list_mains(h5usid / file)[0].path
    flat = usidx.open(h5usid / file, path, form="2d", chunks=chunks)
    assert flat.dims == ("position", "spectroscopic")
    with h5py.File(h5usid / file) as handle:
        raw = handle[path][()]
        values = handle[handle[path].attrs["Position_Values"]]
        labels = [
            label.decode() if isinstance(label, bytes) else label
            for label in values.attrs["labels"]
        ]
        np.testing.assert_array_equal(flat, raw)
        np.testing.assert_array_equal(flat.isel(position=slice(9, 2, -2)), raw[9:2:-2])
        np.testing.assert_array_equal(flat.isel(spectroscopic=5), raw[:, 5])
        for label, column in zip(labels, values[()].T):
            np.testing.assert_array_equal(flat[label], column)
    xr.testing.assert_identical(
        flat.usid.to_nd().compute(), usidx.open(h5usid / file, path).compute()
    )


def test_points_keep_their_columns(h5usid):
    path = h5usid / "real/sparse_sampling__8e91f113.h5"
    array = usidx.open(path, "Channel_000/Raw_Data")
    assert array.dims == ("position", "Frequency")
    assert isinstance(array.usid.layout.position, Points)
    assert set(array.coords) == {"X", "Y", "Frequency"}


def test_incomplete_raster_folds(h5usid):
    path = h5usid / "pyusid/12_incomplete_raster_h5py.h5"
    array = usidx.open(path)
    folded = array.usid.to_nd(fill_value=np.nan)
    assert folded.dims == ("Y", "X", "Bias", "Frequency")
    assert int(folded.measured.sum()) == array.sizes["position"] == 13
    np.testing.assert_array_equal(folded.values.reshape(15, 4, 7)[:13], array.values)


def test_tables(h5usid):
    table = usidx.list_mains(h5usid / SIGNAL)
    assert len(table) == 9
    raw = table[0]
    assert (raw.dims, raw.shape, raw.quantity, raw.units) == (
        ("Y", "X", "Loss"),
        (31, 25, 512),
        "intensity",
        "eV",
    )
    assert (raw.kind, raw.dtype) == ("raw", np.dtype("f4"))
    text, page = repr(table), table._repr_html_()
    assert "31 x 25 x 512" in text
    assert "Raw_Data-SVD_000/U" in text
    assert "<td" in page
    assert len(table[1:3]) == 2
    assert "2 Mains" in repr(table[1:3])
    assert table.paths[0] == raw.path


def test_trees_have_each_main_as_a_leaf(h5usid):
    tree = usidx.open_tree(h5usid / SIGNAL)
    leaves = list(usidx.list_mains(h5usid / SIGNAL).paths)
    assert all(tree[path].is_leaf for path in leaves)
    raw = tree["/Measurement_000/Channel_001/Raw_Data/Raw_Data"]
    xr.testing.assert_identical(
        raw.compute(), usidx.open(h5usid / SIGNAL, "Channel_001/Raw_Data").compute()
    )
    assert origin_of(raw) is not None
    assert [each.path for each in tree.usid.mains] == leaves
    assert [each.kind for each in tree.usid.mains] == ["raw"] + ["result"] * 8
    assert "9 Mains" in repr(tree.usid)
    assert "<table>" in tree.usid._repr_html_()


def test_broken_mains_are_no_leaves_but_variables_that_say_why(h5usid):
    path = h5usid / "pyusid/15_not_quite_main_h5py.h5"
    tree = usidx.open_tree(path)
    mains = set(usidx.list_mains(path).paths)
    with h5py.File(path) as file:
        lookalikes = [
            each.name
            for each in file["Measurement_000/Channel_000"].values()
            if each.ndim == 2 and "Position_Indices" in each.attrs and each.name not in mains
        ]
    assert lookalikes
    for name in lookalikes:
        assert tree[name].attrs["usid_fault"]
        assert tree[name].shape == tree[name].values.shape


def test_results_open_whole(h5usid):
    from usidx.stores import store_at

    store = store_at(h5usid / SIGNAL)
    both = open_result(store, "/Measurement_000/Channel_001/Raw_Data-Decomposition_000")
    assert isinstance(both, xr.DataTree)
    assert {node.name for node in both.leaves} == {"Components", "Projection"}
    single = open_result(
        h5usid / "pyusid/20_process_results.h5",
        "/Measurement_000/Channel_000/Raw_Data-Mean_Gain_000",
    )
    assert single.name == "Mean"


def test_opening_a_huge_list_of_mains_takes_a_blink(tmp_path):
    import time

    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        position = file.create_dataset("pos_i", data=np.arange(4, dtype="u4")[:, None])
        values = file.create_dataset("pos_v", data=np.arange(4, dtype="f4")[:, None])
        columns = file.create_dataset("spec_i", data=np.arange(3, dtype="u4")[None])
        bias = file.create_dataset("spec_v", data=np.arange(3, dtype="f4")[None])
        for dataset, label, unit in (
            (position, "X", "m"),
            (values, "X", "m"),
            (columns, "Bias", "V"),
            (bias, "Bias", "V"),
        ):
            dataset.attrs["labels"], dataset.attrs["units"] = [label], [unit]
        names = (
            "Position_Indices",
            "Position_Values",
            "Spectroscopic_Indices",
            "Spectroscopic_Values",
        )
        for number in range(150):
            main = file.create_dataset(
                f"Measurement_{number:03d}/Channel_000/Raw_Data", data=np.zeros((4, 3))
            )
            main.attrs["quantity"], main.attrs["units"] = "Current", "nA"
            for name, target in zip(names, (position, values, columns, bias)):
                main.attrs[name] = target.ref
    start = time.perf_counter()
    tree = usidx.open_tree(path)
    taken = time.perf_counter() - start
    assert len(tree.leaves) == 150
    assert taken < 5


def test_ground_truth_is_there(h5usid):
    assert json.loads((h5usid / "ground_truth.json").read_text())["files"]


def test_a_reader_can_be_insisted_on(tmp_path):
    path = make_main().usid.to_h5usid(tmp_path / "a.h5")
    xr.testing.assert_identical(usidx.open(path, reader="h5usid"), usidx.open(path))
    with pytest.raises(NotUsidError, match="is for the reader 'h5usid', not for 'zarr'"):
        usidx.open(path, reader="zarr")
    with pytest.raises(OptionError, match=r"reader='h5usd' does not exist.*did you mean 'h5usid'"):
        usidx.list_mains(path, reader="h5usd")
