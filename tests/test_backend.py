"""The engine "usid" of xarray."""

from __future__ import annotations

import pickle

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.backend import UsidBackend
from usidx.errors import AmbiguousMainError, MainNotFoundError, NotUsidError, OptionError

SIGNAL = "h5usid/real/Signal_SI__df40204b.h5"
CHANNELS = "h5usid/real/SingFreqPFM_0003__78de268c.h5"
BEPS = "h5usid/pyusid/28_beps_small_like_h5py.h5"
FITS = "h5usid/pyusid/29_bglib_fitter_status_names.h5"
RAW = "Measurement_000/Channel_000/Raw_Data"


def has_entry_point():
    return "usid" in xr.backends.list_engines()


@pytest.fixture(params=["class", "name"])
def engine(request):
    if request.param == "class":
        return UsidBackend
    if not has_entry_point():
        pytest.skip("usidx is not installed, so that xarray does not know its engine by name")
    return "usid"


@pytest.mark.filterwarnings("ignore:The specified chunks separate")
@pytest.mark.parametrize("chunks", [None, {}, "auto", {"Y": 2}])
def test_datasets(samples, engine, chunks):
    dataset = xr.open_dataset(samples / BEPS, engine=engine, group=RAW, chunks=chunks)
    expected = usidx.open(samples / BEPS)
    xr.testing.assert_identical(dataset.Raw_Data.compute(), expected.compute())
    assert (dataset.Raw_Data.chunks is None) == (chunks is None)
    if chunks == {}:
        assert dataset.Raw_Data.chunks == expected.chunks
    assert dataset.Raw_Data.usid.position_dims == ("Y", "X")


@pytest.mark.parametrize(
    "key",
    [
        {"Y": 1, "X": 2},
        {"Y": slice(3, 0, -1), "Frequency": slice(1, None, 3)},
        {"Cycle": [1, 0], "DC_Offset": [5, 2, 2]},
        {"Field": [], "Y": 0},
        {"Y": ("p", [0, 3]), "Frequency": ("p", [8, 0])},
    ],
)
def test_selections(samples, key):
    lazy = xr.open_dataset(samples / BEPS, engine=UsidBackend, group=RAW).Raw_Data
    whole = usidx.open(samples / BEPS).compute()
    wrapped = {
        dim: xr.DataArray(part[1], dims=part[0]) if isinstance(part, tuple) else part
        for dim, part in key.items()
    }
    xr.testing.assert_identical(lazy.isel(wrapped).compute(), whole.isel(wrapped))


def test_trees(samples, engine):
    tree = xr.open_datatree(samples / SIGNAL, engine=engine)
    expected = usidx.open_tree(samples / SIGNAL)
    assert [node.path for node in tree.leaves] == [node.path for node in expected.leaves]
    xr.testing.assert_identical(tree.load(), expected.load())
    groups = UsidBackend().open_groups_as_dict(samples / SIGNAL)
    assert set(groups) > {"/", *usidx.list_mains(samples / SIGNAL).paths}


def test_chunked_trees(samples):
    tree = xr.open_datatree(samples / CHANNELS, engine=UsidBackend, chunks={})
    assert all(node.dataset.Raw_Data.chunks is not None for node in tree.leaves)


def test_groups_may_be_endings_and_are_explained(samples):
    assert xr.open_dataset(samples / BEPS, engine=UsidBackend).Raw_Data.ndim == 6
    dataset = xr.open_dataset(samples / SIGNAL, engine=UsidBackend, group="Raw_Data-SVD_000/U")
    assert list(dataset) == ["U"]
    with pytest.raises(AmbiguousMainError, match="4 raw Mains"):
        xr.open_dataset(samples / CHANNELS, engine=UsidBackend)
    with pytest.raises(MainNotFoundError, match="did you mean"):
        xr.open_dataset(samples / SIGNAL, engine=UsidBackend, group="Raw_Data-SVD_000/W")
    with pytest.raises(OptionError, match="form="):
        xr.open_dataset(samples / BEPS, engine=UsidBackend, form="3d")


def test_compound_mains_and_dropped_variables(samples):
    dataset = xr.open_dataset(
        samples / FITS, engine=UsidBackend, group="Guess", drop_variables=["Phase [rad]"]
    )
    assert len(dataset) == 4
    assert dataset.attrs["usid_main"] == "Guess"


def test_2d_form(samples):
    dataset = xr.open_dataset(samples / BEPS, engine=UsidBackend, form="2d", chunks={})
    assert dataset.Raw_Data.dims == ("position", "spectroscopic")


def test_guesses_by_content(samples, tmp_path):
    backend = UsidBackend()
    assert backend.guess_can_open(samples / BEPS)
    disguised = tmp_path / "scan.txt"
    disguised.write_bytes((samples / BEPS).read_bytes())
    assert backend.guess_can_open(str(disguised))
    plain = tmp_path / "plain.h5"
    with h5py.File(plain, "w") as file:
        file["x"] = [1.0]
    assert not backend.guess_can_open(plain)
    text = tmp_path / "text.h5"
    text.write_text("nothing")
    assert not backend.guess_can_open(text)
    assert not backend.guess_can_open(tmp_path / "absent.h5")
    assert not backend.guess_can_open(tmp_path)
    assert not backend.guess_can_open(b"\x89HDF\r\n\x1a\n")
    assert not backend.guess_can_open(12)
    with pytest.raises(NotUsidError):
        xr.open_datatree(plain, engine=UsidBackend)


def test_what_it_says_of_itself():
    assert "h5USID" in UsidBackend.description
    assert UsidBackend.url.startswith("https://")


def test_lazy_datasets_pickle(samples):
    dataset = xr.open_dataset(samples / BEPS, engine=UsidBackend, group=RAW)
    xr.testing.assert_identical(pickle.loads(pickle.dumps(dataset)).load(), dataset.load())


def test_results_can_be_written_by_plain_xarray(samples, tmp_path):
    dataset = xr.open_dataset(
        samples / SIGNAL, engine=UsidBackend, group="Channel_001/Raw_Data", chunks={}
    )
    with dask.config.set(scheduler="synchronous"):
        dataset.to_zarr(tmp_path / "plain.zarr", consolidated=False)
        usidx.open(samples / SIGNAL, "Channel_001/Raw_Data").to_netcdf(tmp_path / "plain.nc")
    for path, how in (("plain.zarr", "zarr"), ("plain.nc", "netcdf4")):
        again = xr.open_dataset(
            tmp_path / path, engine=how, **({"consolidated": False} if how == "zarr" else {})
        )
        np.testing.assert_array_equal(again.Raw_Data, dataset.Raw_Data)
        assert again.Raw_Data.usid.position_dims == ("Y", "X")
        again.close()
