"""Compound Mains as Datasets, and back."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx.arrays.fields import compound_spec, field_quantity, main_spec, pack, to_dataset
from usidx.arrays.labels import Origin, origin_of
from usidx.errors import LayoutError
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.testing import make_main

DTYPE = np.dtype([("Amplitude [V]", "f4"), ("Bias", "f8"), ("n", "i4")])
SPEC = MainSpec(
    "/Measurement_000/Channel_000/Raw_Data-Fit_000/Fit",
    "SHO",
    "compound",
    DTYPE,
    Grid("position", (Dimension("Y", "um", 2),)),
    Grid("spectroscopic", (Dimension("Bias", "V", 3),)),
    {"tool": "x"},
)


def values():
    block = np.zeros(SPEC.shape, DTYPE)
    for number, field in enumerate(DTYPE.names):
        block[field] = np.arange(6).reshape(2, 3) + 10 * number
    return block


def test_one_variable_per_field():
    block = values()
    dataset = to_dataset(SPEC, lambda field: block[field])
    assert list(dataset.data_vars) == ["Amplitude [V]", "Bias_values", "n"]
    np.testing.assert_array_equal(dataset.Bias_values, block["Bias"])
    assert dataset["Amplitude [V]"].attrs == {
        "quantity": "Amplitude",
        "units": "V",
        "long_name": "Amplitude",
    }
    assert dataset.attrs["usid_main"] == "Fit"
    assert dataset.attrs["tool"] == "x"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Amplitude [V]", ("Amplitude", "V")),
        ("Phase (rad)", ("Phase", "rad")),
        ("R2 Criterion", ("R2 Criterion", "")),
        ("[V]", ("[V]", "")),
        (" Q [ ] ", ("Q", "")),
    ],
)
def test_units_in_names(field, expected):
    assert field_quantity(field) == expected


def test_specs_of_datasets():
    block = values()
    spec = compound_spec(to_dataset(SPEC, lambda field: block[field]), path=SPEC.path)
    assert (spec.path, spec.quantity, spec.units) == (SPEC.path, "SHO", "compound")
    assert spec.dtype == np.dtype([("Amplitude [V]", "f4"), ("Bias_values", "f8"), ("n", "i4")])
    assert (spec.position, spec.spectroscopic) == (SPEC.position, SPEC.spectroscopic)
    assert spec.attrs["tool"] == "x"


def test_what_is_no_compound_main():
    array = make_main()
    with pytest.raises(LayoutError, match=r"'image' has .*save them as Mains of their own"):
        main_spec(xr.Dataset({"a": array, "image": array.mean("Frequency")}))
    with pytest.raises(LayoutError, match="no variables"):
        main_spec(xr.Dataset())
    assert main_spec(array).dtype == np.dtype("f4")


def test_blocks_are_packed():
    block = values()
    np.testing.assert_array_equal(pack({name: block[name] for name in DTYPE.names}, DTYPE), block)


def test_origin_of_the_whole_and_of_a_field():
    block = values()
    origin = Origin("a.h5", SPEC.path, "abc")
    lazy = to_dataset(SPEC, lambda field: make_lazy(block[field]), origin=origin)
    whole = origin_of(lazy)
    assert whole is not None
    assert whole.field is None
    one = origin_of(lazy["n"])
    assert one is not None
    assert one.field == "n"
    assert origin_of(lazy[["n"]]) is None
    assert origin_of(lazy.isel(Y=slice(0, 1))) is None
    assert origin_of(lazy + 1) is None


def make_lazy(array):
    import dask.array

    return dask.array.from_array(array)
