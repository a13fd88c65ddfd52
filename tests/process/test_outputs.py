"""What a step returned, as Mains in a result group."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.process.planning.outputs import drafts_of
from usidx.step import step
from usidx.testing import make_main

CHANNEL = "Measurement_000/Channel_000"


@step("Two_Sizes", version="1")
def two_sizes(spectra: xr.DataArray) -> xr.Dataset:
    """A map, a spectrum, and the filtered spectra."""
    return xr.Dataset(
        {
            "Image": spectra.mean("Frequency"),
            "Spectrum": spectra.mean(["Y", "X"]),
            "Centred": spectra - spectra.mean("Frequency"),
        }
    )


def test_variables_of_one_shape_are_fields_of_one_main(
    source: xr.DataArray, truth: xr.DataArray
) -> None:
    result = source.usid.process(steps.statistics).run()
    assert [each.rsplit("/", 1)[-1] for each in result.mains] == ["Statistics"]
    opened = result.open()
    assert isinstance(opened, xr.Dataset)
    assert list(opened) == ["Mean", "Standard Deviation", "Minimum", "Maximum"]
    np.testing.assert_allclose(opened["Mean"].squeeze(), truth.mean("Frequency"), rtol=1e-5)
    np.testing.assert_array_equal(opened["Maximum"].squeeze(), truth.max("Frequency"))
    assert {each.attrs["units"] for each in opened.values()} == {"V"}


def test_units_of_fields_come_back(source: xr.DataArray) -> None:
    size = source.mean("Frequency")
    units = {"Height": "V", "Place": "Hz", "Quality": ""}
    peaks = xr.Dataset({name: size.assign_attrs(units=each) for name, each in units.items()})
    spec = drafts_of(peaks.assign_attrs(quantity="Peaks", units="compound"), "Peak")[0].spec
    assert spec.dtype.names == tuple(units)
    assert spec.attrs["field_units"] == ["V", "Hz", ""]
    assert (spec.quantity, spec.units) == ("Peaks", "compound")


def test_variables_that_differ_in_shape_are_mains_of_their_own(
    source: xr.DataArray, truth: xr.DataArray
) -> None:
    result = source.usid.process(two_sizes).run(memory="60 kB", workers=1)
    assert {each.rsplit("/", 1)[-1] for each in result.mains} == {"Image", "Spectrum", "Centred"}
    assert (result.status, result.done, result.total) == ("complete", 641, 641)
    tree = result.open()
    assert isinstance(tree, xr.DataTree)
    image, spectrum = tree["Image/Image"], tree["Spectrum/Spectrum"]
    np.testing.assert_allclose(image.squeeze(), truth.mean("Frequency"), rtol=1e-5)
    np.testing.assert_allclose(spectrum.squeeze(), truth.mean(["Y", "X"]), rtol=1e-5)
    np.testing.assert_allclose(
        tree["Centred/Centred"], truth - truth.mean("Frequency"), rtol=1e-4, atol=1e-6
    )
    assert source.usid.process(two_sizes).run() == result


def test_a_new_dimension_belongs_to_the_spectra(source: xr.DataArray, truth: xr.DataArray) -> None:
    @step("Parts", version="1")
    def parts(spectra: xr.DataArray) -> xr.DataArray:
        low, high = spectra.isel(Frequency=slice(16)), spectra.isel(Frequency=slice(16, None))
        both = xr.concat([low.mean("Frequency"), high.mean("Frequency")], "Half")
        return both.assign_coords(Half=[0, 1])

    opened = source.usid.process(parts).run().open()
    assert opened.dims == ("Y", "X", "Half")
    assert opened.Half.attrs["usid_role"] == "spectroscopic"
    np.testing.assert_allclose(
        opened[..., 1], truth.isel(Frequency=slice(16, None)).mean("Frequency"), rtol=1e-5
    )


def test_what_a_step_does_not_name_is_named_after_the_tool() -> None:
    main = make_main(chunks={})
    (draft,) = drafts_of(main.drop_attrs(deep=False) ** 2, "Squared")
    assert (draft.spec.name, draft.spec.quantity, draft.spec.units) == (
        "Squared",
        "Squared",
        "a. u.",
    )
    (draft,) = drafts_of(main.assign_attrs(quantity="Power", units="W"), "Squared")
    assert (draft.spec.quantity, draft.spec.units) == ("Power", "W")


def test_notes_of_the_source_are_not_those_of_the_result() -> None:
    main = make_main(chunks={}).assign_attrs(timestamp="2020", usid_status="complete", gain=3)
    (draft,) = drafts_of(main, "Same")
    assert dict(draft.spec.attrs) == {"gain": 3}


def test_ancillaries_that_stay_are_shared(hdf5_path: str) -> None:
    source = usidx.open(hdf5_path)
    source.usid.process(steps.peak_response).run()
    source.usid.process(steps.fft_filter, high=1e-4).run()
    with h5py.File(hdf5_path, "r") as file:
        raw = file[f"{CHANNEL}/Raw_Data"]
        peak = file[f"{CHANNEL}/Raw_Data-Peak_Response_000/Peak_Response"]
        smooth = file[f"{CHANNEL}/Raw_Data-FFT_Filter_000/FFT_Filter"]
        for kind in ("Position_Indices", "Position_Values"):
            assert file[peak.attrs[kind]] == file[raw.attrs[kind]] == file[smooth.attrs[kind]]
        for kind in ("Spectroscopic_Indices", "Spectroscopic_Values"):
            assert file[smooth.attrs[kind]] == file[raw.attrs[kind]] != file[peak.attrs[kind]]
        group = file[f"{CHANNEL}/Raw_Data-FFT_Filter_000"]
        assert group.attrs["tool"] == "FFT_Filter"
        assert group.attrs["high"] == 1e-4
        assert file[group.attrs["source_000"]] == raw
        assert group["completed_positions"][()].all()
        assert group.attrs["last_pixel"] == 320


def test_positions_out_of_order_come_out_in_raster_order(
    hdf5_path: str, truth: xr.DataArray
) -> None:
    order = np.random.default_rng(0).permutation(320)
    with h5py.File(hdf5_path, "r+") as file:
        channel = file[CHANNEL]
        for name in ("Raw_Data", "Position_Indices", "Position_Values"):
            channel[name][...] = channel[name][()][order]
    result = usidx.open(hdf5_path).usid.process(steps.peak_response).run(memory="33 kB", workers=1)
    found = result.open().squeeze().transpose("Y", "X")  # nothing says which was the faster one
    np.testing.assert_array_equal(found, abs(truth).max("Frequency"))
    with h5py.File(hdf5_path, "r") as file:
        peak = file[f"{CHANNEL}/Raw_Data-Peak_Response_000/Peak_Response"]
        raw = file[f"{CHANNEL}/Raw_Data"]
        assert file[peak.attrs["Position_Indices"]] != file[raw.attrs["Position_Indices"]]


def test_a_field_of_a_compound_main_is_a_source(source: xr.DataArray, truth: xr.DataArray) -> None:
    fields = source.usid.process(steps.statistics).run().open()
    assert isinstance(fields, xr.Dataset)

    @step("Doubled", version="1")
    def doubled(data: xr.DataArray) -> xr.DataArray:
        return 2 * data

    result = fields["Maximum"].usid.process(doubled).run()
    np.testing.assert_array_equal(result.open().squeeze(), 2 * truth.max("Frequency"))
    assert fields["Minimum"].usid.process(doubled).run() != result
    assert result.record.attrs["usid_field"] == "Maximum"

    @step("Range", version="1")
    def value_range(data: xr.Dataset) -> xr.DataArray:
        return data["Maximum"] - data["Minimum"]

    whole = fields.usid.process(value_range).run()
    np.testing.assert_array_equal(
        whole.open().squeeze(), truth.max("Frequency") - truth.min("Frequency")
    )


def test_names_that_no_main_can_have_are_refused() -> None:
    main = make_main(chunks={})
    odd = xr.Dataset({"a/b": main, "c": main.mean("Frequency")})
    with pytest.raises(PlanError, match="'a/b' cannot name a Main"):
        drafts_of(odd, "Odd")
