"""Trees of whole files: everything is there, and Mains are told from the rest."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.h5usid import CHANNEL, RAW, REFERENCES, channel, write_main, write_result
from usidx.errors import MainNotFoundError, NotUsidError

BEPS = "h5usid/pyusid/28_beps_small_like_h5py.h5"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["Pycroscopy version"] = "0.59"
        group = channel(file)
        group.attrs["gain"] = 3.5
        raw = write_main(group)
        raw.attrs["rows"] = raw.regionref[2:4]
        raw.attrs["note"] = "first try"
        group["X"] = np.arange(9.0)
        group["notes"] = ["a", "µ"]
        write_result(raw, group.create_group("Raw_Data-Fit_000"))
        write_main(file.create_group(f"{CHANNEL}/coarse"), shape=(2, 2, 7))
        file["Raw_Measurement/X"] = np.arange(3)
        file["Raw_Measurement/log"] = "started"
    return tmp_path / "a.h5"


@pytest.mark.parametrize("engine", [None, "usid"])
def test_everything_is_there(path: pathlib.Path, engine: str | None) -> None:
    from usidx.backend import UsidBackend

    tree = usidx.open_tree(path) if engine is None else xr.open_datatree(path, engine=UsidBackend)
    assert tree.attrs["Pycroscopy version"] == "0.59"
    node = tree[CHANNEL]
    assert node.attrs == {"gain": 3.5}
    assert node["X"].values.tolist() == list(range(9))
    assert node["notes"].values.tolist() == ["a", "µ"]
    assert tree["Raw_Measurement/log"].item() == "started"
    assert tree["Raw_Measurement/X"].dims == ("X_0",)
    leaf = tree[RAW]
    assert leaf["Raw_Data"].attrs["note"] == "first try"
    assert leaf["Raw_Data"].attrs["rows"] == f"{RAW}[2:4, :]"
    assert set(leaf.to_dataset().variables) == {"Raw_Data", "Y", "X", "Bias"}
    assert tree[f"{CHANNEL}/coarse/Raw_Data"].to_dataset().sizes == {"Y": 2, "X": 2, "Bias": 7}
    assert tree.usid.mains.paths == usidx.list_mains(path).paths
    whole = tree.load()
    assert whole[CHANNEL]["X"].values.tolist() == list(range(9))


def test_ancillaries_on_request(path: pathlib.Path) -> None:
    tree = usidx.open_tree(path, ancillaries=True, reader="h5usid")
    assert tree[f"{CHANNEL}/Position_Indices"].shape == (12, 2)
    assert tree[f"{CHANNEL}/Position_Indices"].attrs["labels"] == ["Y", "X"]
    assert "Position_Indices" not in usidx.open_tree(path)[CHANNEL].to_dataset()


def test_mains_keep_their_history_and_results(path: pathlib.Path) -> None:
    tree = usidx.open_tree(path)
    fit = tree[f"{RAW}-Fit_000/Fit"]["Fit"]
    assert len(fit.usid.history) == 2
    assert [each.path for each in tree[RAW]["Raw_Data"].usid.results()] == [f"{RAW}-Fit_000"]


def test_trees_go_to_files_and_come_back(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tree = usidx.open_tree(path)
    for name, write in (("b.h5", tree.usid.to_h5usid), ("b.zarr", tree.usid.to_zarr)):
        write(tmp_path / name)
        back = usidx.open_tree(tmp_path / name)
        assert set(back.usid.mains.paths) == set(tree.usid.mains.paths)
        assert back[CHANNEL].attrs["gain"] == 3.5
        xr.testing.assert_equal(back[RAW]["Raw_Data"].compute(), tree[RAW]["Raw_Data"].compute())


def test_all_regions_of_a_file(path: pathlib.Path, samples: pathlib.Path) -> None:
    regions = usidx.open_tree(path).usid.regions
    assert list(regions) == [f"{RAW}/rows"]
    assert regions[f"{RAW}/rows"].select().sizes == {"Y": 1, "X": 2, "Bias": 5}
    assert len(usidx.open_tree(samples / BEPS).usid.regions) == 14
    with pytest.raises(MainNotFoundError, match="made in memory"):
        xr.DataTree().usid.regions  # noqa: B018


def test_nothing_in_the_samples_is_out_of_reach(samples: pathlib.Path) -> None:
    """Each object of each file is a node or a variable, with all its attributes and values."""
    own = {
        "quantity",
        "units",
        "long_name",
        "usid_role",
        "usid_fault",
        "usid_status",
        "field_units",
    }
    for path in sorted((samples / "h5usid").glob("*/*.h*5")):
        try:
            tree = usidx.open_tree(path, ancillaries=True, reader="h5usid")
        except NotUsidError:
            continue  # not even one Main
        mains = set(usidx.list_mains(path).paths)
        with h5py.File(path) as file:
            objects: dict[str, h5py.HLObject] = {"/": file}
            file.visititems(lambda name, obj, into=objects: into.update({f"/{name}": obj}))
            for name, obj in objects.items():
                found = tree[name]
                if name in mains:
                    variable = next(iter(found.to_dataset().data_vars.values()))
                    told = {**found.attrs, **variable.attrs}
                    missing = set(obj.attrs) - set(told) - set(REFERENCES) - own
                elif isinstance(obj, h5py.Group):
                    missing = set(obj.attrs) - set(found.attrs)
                else:
                    missing = set(obj.attrs) - set(found.attrs) - own
                    assert found.shape == obj.shape, (path.name, name)
                    if obj.dtype.kind in "biufc" and obj.size < 10**6:
                        np.testing.assert_array_equal(found.values, obj[()])
                assert not {each.strip() for each in missing}, (path.name, name)
