"""Region references as selections, against what h5py reads through them."""

from __future__ import annotations

import pathlib
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.h5usid import RAW, channel, write_main, write_result
from usidx.errors import LayoutError, MainNotFoundError
from usidx.explore.regions import box_of
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.testing import make_main

BEPS = "h5usid/pyusid/28_beps_small_like_h5py.h5"
RANDOM = "h5usid/pyusid/14b_random_order_h5py.h5"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = channel(file)
        raw = write_main(group, shape=(3, 4, 5))
        raw.attrs["box"] = raw.regionref[4:8, 1:4]
        raw.attrs["stripes"] = raw.regionref[0:12:4, :]
        raw.attrs["ragged"] = raw.regionref[2:7, ::2]
        space = h5py.h5s.create_simple(raw.shape)
        space.select_elements([(0, 0), (11, 4), (3, 2)])
        raw.attrs["points"] = h5py.h5r.create(raw.id, b".", h5py.h5r.DATASET_REGION, space)
        raw.attrs["several"] = np.array(
            [raw.regionref[0:4, :], raw.regionref[4:8, :]], h5py.regionref_dtype
        )
        raw.attrs.create("null", None, dtype=h5py.regionref_dtype)
        gone = group.create_dataset("gone", data=np.zeros(3))
        raw.attrs["dangling"] = gone.regionref[0:2]
        group["Position_Values"].attrs["X"] = group["Position_Values"].regionref[:, 1:2]
        group.attrs["corner"] = raw.regionref[0:1, 0:1]
        result = write_result(raw, group.create_group("Raw_Data-Fit_000"))
        result.attrs["of"] = raw.regionref[4:8, :]
        group["UDVS"] = np.arange(12).reshape(4, 3)
        group["UDVS"].attrs["first"] = group["UDVS"].regionref[0, :]
        file["elsewhere"] = 1
        file["elsewhere"].attrs["plain"] = raw.ref
        del group["gone"], gone
    return tmp_path / "a.h5"


def stored(path: pathlib.Path, name: str) -> Any:
    with h5py.File(path) as file:
        raw = file[RAW]
        return raw[raw.attrs[name]]


def test_all_around_a_main_by_name(path: pathlib.Path) -> None:
    regions = usidx.open(path, "Raw_Data").usid.regions
    assert set(regions) == {
        *("box", "stripes", "ragged", "points", "several[0]", "several[1]", "null", "dangling"),
        "Position_Values/X",
        "/Measurement_000/Channel_000/corner",
        "Raw_Data-Fit_000/Fit/of",
    }
    text = repr(regions)
    assert text.startswith(f"<usidx 11 regions of {RAW}>")
    assert f"{RAW}[4:8, 1:4]" in text
    assert "a null reference" in text
    assert "a dangling reference" in text
    assert "<table>" in regions._repr_html_()
    assert regions["box"].holder == regions["box"].target == RAW
    # of the result, those that it has itself
    fit = usidx.open(path, "Raw_Data-Fit_000/Fit").usid.regions
    assert fit["of"].target == RAW
    np.testing.assert_array_equal(
        fit["of"].select(), usidx.open(path, "Raw_Data").isel(Y=[1]).values
    )


def test_boxes_are_selected_in_n_d(path: pathlib.Path) -> None:
    da = usidx.open(path, "Raw_Data")
    box = da.usid.regions["box"]
    assert box.isel == {"Y": slice(1, 2, 1), "X": slice(0, 4, 1), "Bias": slice(1, 4, 1)}
    assert (box.rows, box.columns) == (slice(4, 8, 1), slice(1, 4, 1))
    xr.testing.assert_identical(box.select(), da.isel(Y=slice(1, 2), Bias=slice(1, 4)))
    stripes = da.usid.regions["stripes"].select()
    assert stripes.sizes == {"Y": 3, "X": 1, "Bias": 5}
    np.testing.assert_array_equal(stripes.values.reshape(3, 5), stored(path, "stripes"))
    assert stripes.chunks is not None
    assert da.usid.regions["several[1]"].select().Y.item() == 0.5


def test_what_is_no_box_comes_as_rows_and_columns(path: pathlib.Path) -> None:
    da = usidx.open(path, "Raw_Data")
    ragged = da.usid.regions["ragged"]
    assert ragged.isel is None
    found = ragged.select()
    assert found.dims == ("position", "spectroscopic")
    np.testing.assert_array_equal(found.values, stored(path, "ragged"))
    np.testing.assert_array_equal(found.X, [1.0, 1.5, 0, 0.5, 1])
    points = da.usid.regions["points"].select()
    assert points.dims == ("element",)
    assert points.values.tolist() == [0, 59, 17]
    assert points.Bias.values.tolist() == [0, 1, 0.5]
    with pytest.raises(LayoutError, match="no rows and columns"):
        da.usid.regions["points"].rows  # noqa: B018
    flat = usidx.open(path, "Raw_Data", form="2d").usid.regions
    np.testing.assert_array_equal(flat["box"].select(), stored(path, "box"))
    assert flat["ragged"].isel == {"position": slice(2, 7, 1), "spectroscopic": slice(0, 5, 2)}


def test_of_ancillaries_and_other_datasets(path: pathlib.Path) -> None:
    regions = usidx.open(path, "Raw_Data").usid.regions
    column = regions["Position_Values/X"]
    assert column.isel is None
    assert column.columns == slice(1, 2, 1)
    assert column.select().values.ravel().tolist() == [0, 0.5, 1, 1.5] * 3
    everything = usidx.open_tree(path).usid.regions
    assert len(everything) == 12
    assert everything["/Measurement_000/Channel_000/UDVS/first"].select().values.tolist() == [
        [0, 1, 2]
    ]
    corner = everything["/Measurement_000/Channel_000/corner"].select()
    assert corner.sizes == {"Y": 1, "X": 1, "Bias": 1}


@pytest.mark.parametrize("name", ["null", "dangling"])
def test_what_leads_nowhere_is_told(path: pathlib.Path, name: str) -> None:
    region = usidx.open(path, "Raw_Data").usid.regions[name]
    assert name in region.fault
    assert region.target == ""
    assert region.isel is None
    with pytest.raises(LayoutError, match=f"{name} reference"):
        region.select()
    with pytest.raises(LayoutError, match=f"{name} reference"):
        region.rows  # noqa: B018


def test_in_whatever_order_the_rows_are(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Of a random scan, the rows that a reference selects are those of the file."""
    path = tmp_path / "random.h5"
    path.write_bytes((samples / RANDOM).read_bytes())
    with h5py.File(path, "r+") as file:
        name = usidx.list_mains(path)[0].path
        main = file[name]
        main.attrs["box"] = main.regionref[3:5, :]
        main.attrs["none"] = main.regionref[0:5, 2:9]
        main.attrs["all"] = main.regionref[:, :]
        box, none = main[3:5], main[0:5, 2:9]
    da = usidx.open(path)
    found = da.usid.regions["box"].select()
    assert found.sizes == {**da.sizes, "X": 1, "Y": 2}
    np.testing.assert_array_equal(np.sort(found.values.ravel()), np.sort(box.ravel()))
    assert da.usid.regions["none"].isel is None
    np.testing.assert_array_equal(da.usid.regions["none"].select(), none)
    xr.testing.assert_identical(da.usid.regions["all"].select(), da)


def test_of_a_real_layout(samples: pathlib.Path) -> None:
    da = usidx.open(samples / BEPS)
    inside = da.usid.regions["in_field_Plot_Group"]
    assert inside.isel is not None
    assert inside.isel["Field"] == slice(1, 2, 1)
    xr.testing.assert_identical(inside.select(), da.isel(Field=[1]))


def test_stores_without_references(tmp_path: pathlib.Path) -> None:
    make_main().usid.to_zarr(tmp_path / "a.zarr")
    regions = usidx.open(tmp_path / "a.zarr").usid.regions
    assert len(regions) == 0
    assert repr(regions).startswith("<usidx no regions of")
    with pytest.raises(MainNotFoundError, match="no Main of a store"):
        make_main().usid.regions  # noqa: B018


def test_boxes_against_every_selection_of_rows() -> None:
    order = np.random.default_rng(3).permutation(12)
    for grid in (
        Grid("position", (Dimension("Y", "um", 3), Dimension("X", "um", 4))),
        Grid("position", (Dimension("Y", "um", 3), Dimension("X", "um", 4)), order=order),
    ):
        cells = np.arange(12).reshape(3, 4)
        for mask in range(1, 2**12, 37):
            rows = np.flatnonzero([mask >> bit & 1 for bit in range(12)])
            where = rows if grid.order is None else np.argsort(order)[rows]
            y, x = np.unique(where // 4), np.unique(where % 4)
            box = box_of(rows, grid)
            assert (box is not None) == (len(y) * len(x) == len(rows))
            if box is not None:
                selected = cells[box["Y"]][:, box["X"]]
                assert sorted(selected.ravel()) == sorted(where)


def test_points_keep_their_rows() -> None:
    column = Coordinate("X", "um", ("position",), np.arange(5.0))
    assert box_of(slice(1, 3), Points("position", (column,))) == {"position": slice(1, 3)}
