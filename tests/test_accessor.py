"""`.usid` on arrays, Datasets and trees."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.h5usid import channel, write_main, write_result
from usidx.errors import LayoutError, MainNotFoundError
from usidx.testing import make_main

SIGNAL = "h5usid/real/Signal_SI__df40204b.h5"
FITS = "h5usid/pyusid/29_bglib_fitter_status_names.h5"
RANDOM = "h5usid/pyusid/14b_random_order_h5py.h5"
ELSEWHERE = "h5usid/pyusid/21_results_in_other_file.h5"


def test_what_it_says_of_an_array():
    array = make_main()
    assert array.usid.quantity == "Cantilever Vertical Deflection"
    assert array.usid.units == "V"
    assert array.usid.position_dims == ("Y", "X")
    assert array.usid.spectroscopic_dims == ("Frequency",)
    assert array.usid.layout.position.shape == (4, 5)
    assert array.usid.spec.shape_2d == (20, 16)


def test_text_summary():
    lines = repr(make_main(chunks={"Y": 2}).usid).splitlines()
    assert lines[0] == "<usidx Main 'Raw_Data': Cantilever Vertical Deflection [V]>"
    assert lines[1].split() == ["position", "Y:", "4", "0", "..", "1.5", "um"]
    assert "Frequency: 16  300000 .. 345000 Hz" in lines[3]
    assert "float32, 1.2 KiB, lazy, 2 blocks of up to 640 bytes" in lines[4]
    assert "no store" in lines[5]


def test_html_summary_is_escaped():
    page = make_main(name="<b>").usid._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<table>" in page


def test_summaries_never_fail():
    bare = xr.DataArray(np.zeros((2, 3)), dims=("a", "b"))
    assert "assign_roles" in repr(bare.usid)
    assert "0-d" not in repr(xr.DataArray(1.0).usid)
    text = xr.DataArray([["a", "b"]], dims=("position", "spectroscopic")).usid
    assert "lazy" not in repr(text)


def test_summary_of_what_is_stored(samples):
    text = repr(usidx.open(samples / SIGNAL, "Channel_001/Raw_Data").usid)
    assert "/Measurement_000/Channel_001/Raw_Data" in text
    assert "Raw_Data-SVD_000: complete" in text
    text = repr(usidx.open(samples / FITS, "Fit").usid)
    assert "SHO_Fit(" in text
    assert "76 % done, .resume() goes on" in text
    assert "from /Measurement_000/Channel_000/Raw_Data" in text
    assert "acquisition_order" in repr(usidx.open(samples / RANDOM).usid)


def test_summary_of_points_says_why_they_are_no_grid(samples):
    array = usidx.open(samples / "h5usid/pyusid/11b_sparse_incomplete_dimensions_attr_h5py.h5")
    text = repr(array.usid)
    assert "8 points, no grid: " in text
    assert "of its own in X and Y" in text
    assert "no grid" not in repr(make_main().usid.to_2d().usid)


def test_summary_of_a_store_that_is_gone(samples, tmp_path):
    shutil.copy(samples / SIGNAL, tmp_path / "gone.h5")
    array = usidx.open(tmp_path / "gone.h5", "Channel_001/Raw_Data")
    (tmp_path / "gone.h5").unlink()
    assert "StoreNotFoundError" in repr(array.usid)


def test_ancillaries_are_those_of_the_file(samples):
    path = samples / "h5usid/pyusid/02_4d_slow_to_fast.h5"
    array = usidx.open(path)
    with h5py.File(path) as file:
        main = file[usidx.list_mains(path)[0].path]
        for name, found in (
            ("Position_Indices", array.usid.position_indices),
            ("Position_Values", array.usid.position_values),
            ("Spectroscopic_Indices", array.usid.spectroscopic_indices),
            ("Spectroscopic_Values", array.usid.spectroscopic_values),
        ):
            np.testing.assert_array_equal(found, file[main.attrs[name]])
            assert found.name == name
            labels = [text.decode() for text in file[main.attrs[name]].attrs["labels"]]
            assert found.dimension.values.tolist() == labels


def test_ancillaries_of_a_random_scan_follow_the_file(samples):
    path = samples / RANDOM
    array = usidx.open(path)
    with h5py.File(path) as file:
        values = file[file[usidx.list_mains(path)[0].path].attrs["Position_Values"]][()]
    found = array.usid.position_values
    np.testing.assert_array_equal(found.sel(dimension="X"), values[:, 0])
    np.testing.assert_array_equal(
        found.isel(position=slice(11, 3, -3)).sel(dimension="Y"), values[11:3:-3, 1]
    )
    np.testing.assert_array_equal(found.isel(position=4).values[[0, 1]], found.values[4])
    flat = array.usid.to_2d()
    np.testing.assert_array_equal(flat.X, values[:, 0])


def test_there_and_back():
    array = make_main(chunks={"Y": 2})
    flat = array.usid.to_2d()
    assert flat.usid.position_dims == ("position",)
    xr.testing.assert_identical(flat.usid.to_nd().compute(), array.compute())
    dataset = xr.Dataset({"a": array, "b": array + 1})
    assert dataset.usid.to_2d().a.dims == ("position", "spectroscopic")


def test_roles_can_be_assigned_to_anything():
    image = xr.DataArray(np.zeros((3, 4)), dims=("row", "col"), name="Height")
    array = image.usid.assign_roles(position=["row", "col"], quantity="Height", units="nm")
    assert array.usid.units == "nm"
    assert array.usid.spec.dims == ("row", "col", "arb")


def test_results_are_found_by_exact_names(samples):
    raw = usidx.open(samples / SIGNAL, "Channel_001/Raw_Data")
    assert [each.name for each in raw.usid.results("Decomposition")] == [
        "Raw_Data-Decomposition_000",
        "Raw_Data-Decomposition_001",
    ]
    assert len(raw.usid.results()) == 4
    assert raw.usid.results("Decomp") == []
    with pytest.raises(MainNotFoundError, match=r"ask what usidx.open gave"):
        (raw + 1).usid.results()


def test_sources_are_opened(samples):
    fit = usidx.open(samples / FITS, "Fit")
    raw = usidx.open(samples / FITS, "Raw_Data")
    xr.testing.assert_identical(fit.usid.source.compute(), raw.compute())
    xr.testing.assert_identical(fit["Phase [rad]"].usid.source.compute(), raw.compute())
    assert raw.usid.source is None
    assert make_main().usid.source is None


def test_a_step_can_be_bound():
    from usidx.steps import peak_response

    process = make_main(chunks={}).usid.process(peak_response, along="Frequency")
    assert process.parameters["along"] == "Frequency"


def test_datasets_are_compound_mains(samples):
    guess = usidx.open(samples / FITS, "Guess")
    assert guess.usid.quantity == "SHO"
    assert guess.usid.spec.dtype.names[0] == "Amplitude [V]"
    assert guess.usid.spectroscopic_dims == ("Bias",)
    assert "5 fields" in repr(guess.usid)


def test_variables_of_other_dimensions_are_no_compound():
    array = make_main()
    with pytest.raises(LayoutError, match=r"need the same dimensions"):
        _ = xr.Dataset({"a": array, "b": array.mean("X")}).usid.spec


@pytest.mark.parametrize("export", ["to_h5usid", "to_zarr"])
def test_there_and_back_through_a_store_and_a_step(export, tmp_path):
    from usidx.steps import peak_response

    path = tmp_path / "main.store"
    made = make_main(chunks={"Y": 2})
    getattr(made.usid, export)(path)
    opened = usidx.open(path)
    xr.testing.assert_equal(opened.compute(), made.compute())
    assert opened.usid.results() == []
    group = opened.usid.process(peak_response, along="Frequency").run(progress=False)
    assert opened.usid.results("Peak_Response") == [group]
    result = group.open()
    np.testing.assert_array_equal(result.squeeze(), abs(made).max("Frequency"))
    assert result.attrs["usid_status"] == "complete"
    xr.testing.assert_identical(result.usid.source.compute(), opened.compute())
    assert [each.kind for each in usidx.open_tree(path).usid.mains] == ["raw", "result"]


def test_navigation_where_a_file_may_reach_others(tmp_path):
    with h5py.File(tmp_path / "far.h5", "w") as file:
        raw = write_main(channel(file))
        raw.attrs["some"] = raw.regionref[0:4]
        write_result(raw, channel(file).create_group("Raw_Data-Fit_000"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["far"] = h5py.ExternalLink("far.h5", "/Measurement_000/Channel_000")
    da = usidx.open(tmp_path / "a.h5", "far/Raw_Data", allow_external=[tmp_path])
    (result,) = da.usid.results("Fit")
    assert (result.path, result.status) == ("/far/Raw_Data-Fit_000", "unknown")
    fit = result.open()
    assert len(fit.usid.history) == 2
    assert fit.usid.source.equals(da)
    assert da.usid.regions["some"].select().sizes["Y"] == 1
    assert "results" in repr(da.usid)
    tree = usidx.open_tree(tmp_path / "a.h5", allow_external=[tmp_path])
    assert tree["far/Raw_Data/Raw_Data"].equals(da)
