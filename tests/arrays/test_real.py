"""Real numbers along one more dimension: the same values, to the bit, there and back."""

from __future__ import annotations

from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import usidx
from usidx.arrays.real import from_real, to_real
from usidx.errors import LayoutError, OptionError
from usidx.testing import make_main

DTYPES = ["?", "i1", "u2", "i4", "f2", "f4", "f8", "c8", "c16", ">f4", ">c8"]


def compound(chunks: Any = None) -> xr.Dataset:
    main = make_main((3, 4, 8), dtype="complex64", chunks=chunks)
    fields = {
        "Amplitude [V]": abs(main).max("Frequency"),
        "Response": main.mean("Frequency"),
        "n": abs(main).argmax("Frequency").astype("i2"),
    }
    for name, field in fields.items():
        field.attrs = {"quantity": name, "units": "V"}
    return xr.Dataset(fields, attrs={"usid_main": "Fit", "quantity": "SHO", "units": "a. u."})


@pytest.mark.parametrize("chunks", [None, {"Y": 1}, {"Frequency": 3}])
@pytest.mark.parametrize("dtype", ["complex64", "complex128", "float32", "int16"])
def test_an_array_comes_back(dtype: str, chunks: Any) -> None:
    main = make_main((3, 4, 8), dtype=dtype, chunks=chunks)
    real = main.usid.to_real()
    assert real.dims == ("Y", "X", "Frequency", "component")
    assert (real.chunks is None) == (chunks is None)
    if main.dtype.kind == "c":
        assert list(real.component.values) == ["real", "imag"]
        assert real.dtype == main.values.real.dtype
        np.testing.assert_array_equal(real.sel(component="imag"), main.values.imag)
    else:
        assert list(real.component.values) == ["real"]
        assert real.dtype == main.dtype
    back = usidx.from_real(real)
    xr.testing.assert_identical(back.compute(), main.compute())
    assert back.dtype == main.dtype
    assert back.chunks == main.chunks
    assert back["Y"].attrs == main["Y"].attrs


@pytest.mark.parametrize("chunks", [None, {"Y": 1}])
def test_a_compound_main_comes_back(chunks: Any) -> None:
    fields = compound(chunks)
    real = fields.usid.to_real()
    assert list(real.component.values) == ["Amplitude [V]", "Response.real", "Response.imag", "n"]
    assert (real.dtype, real.name) == (np.float32, "Fit")
    np.testing.assert_array_equal(real[..., 3], fields["n"])
    back = real.usid.from_real()
    assert isinstance(back, xr.Dataset)
    xr.testing.assert_identical(back.compute(), fields.compute())
    for name, field in fields.items():
        assert back[name].dtype == field.dtype
        assert back[name].attrs == field.attrs


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_bit_comes_back(data: st.DataObject) -> None:
    """Signs of zeros, infinities, and NaN with whatever is in them."""
    fields = {}
    for number in range(data.draw(st.integers(1, 3))):
        dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
        fields[f"f{number}"] = ("x", data.draw(hnp.arrays(dtype, 5)))
    dataset = xr.Dataset(fields)
    back = from_real(to_real(dataset))
    assert isinstance(back, xr.Dataset)
    for name, field in dataset.items():
        assert back[name].dtype == field.dtype
        one, other = field.values, back[name].values
        if field.dtype.kind in "fc":
            one, other = one.view(one.real.dtype), other.view(other.real.dtype)
            np.testing.assert_array_equal(np.signbit(one), np.signbit(other))
        np.testing.assert_array_equal(one, other)


def test_complex_numbers_are_not_computed_with() -> None:
    values = np.array([complex(-0.0, np.inf), complex(np.nan, -0.0), complex(np.inf, np.nan)])
    array = xr.DataArray(values, dims="x")
    assert from_real(to_real(array)).values.tobytes() == values.tobytes()


def test_it_stays_lazy(tmp_path: Any) -> None:
    path = make_main((3, 4, 8), dtype="complex64").usid.to_h5usid(tmp_path / "a.h5")
    lazy = usidx.open(path, chunks=None)  # lazy by xarray alone
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("it was computed")):
        real = lazy.usid.to_real()
        back = from_real(real)
        assert real.chunks is not None
        assert back.chunks is not None
        to_real(compound({"Y": 1}))
    np.testing.assert_array_equal(back, lazy)


def test_blocks_are_those_of_the_array() -> None:
    main = make_main((4, 5, 16), dtype="complex64", chunks={"Y": 2})
    real = main.usid.to_real()
    assert real.chunks == (*main.chunks, (2,))
    assert len(dict(real.data.dask)) <= 2 * len(dict(main.data.dask)) + 2


def test_a_matrix_of_samples_and_features() -> None:
    """What a library for machine learning wants, and what it gives back."""
    main = make_main((3, 4, 8), dtype="complex64", chunks={"Y": 1})
    real = main.usid.to_2d().usid.to_real()
    assert real.dims == ("position", "spectroscopic", "component")
    samples = real.values.reshape(12, -1)
    back = from_real(real.copy(data=samples.reshape(real.shape))).usid.to_nd()
    np.testing.assert_array_equal(back, main)


class TestComponents:
    def test_both_parts_or_none(self) -> None:
        real = make_main(dtype="complex64").usid.to_real()
        with pytest.raises(LayoutError, match="needs both of its parts.* only real"):
            from_real(real.isel(component=[0]))
        swapped = real.isel(component=[1, 0])
        np.testing.assert_array_equal(from_real(swapped), make_main(dtype="complex64"))

    def test_some_fields(self) -> None:
        real = compound().usid.to_real()
        back = from_real(real.sel(component=["n", "Amplitude [V]"]))
        assert list(back) == ["n", "Amplitude [V]"]

    def test_what_to_real_has_not_made(self) -> None:
        with pytest.raises(LayoutError, match="no dimension 'component'.* Y, X, Frequency"):
            from_real(make_main())
        real = make_main(dtype="complex64").usid.to_real()
        with pytest.raises(LayoutError, match="are none of"):
            from_real(real.isel(component=0))
        with pytest.raises(LayoutError, match="are none of"):
            from_real(real.assign_coords(component=real.component.copy(data=["a", "b"])))

    def test_a_name_that_is_taken(self) -> None:
        main = make_main(dtype="complex64")
        with pytest.raises(LayoutError, match="already"):
            to_real(main, dim="X")
        real = to_real(to_real(main), dim="again")
        xr.testing.assert_identical(from_real(from_real(real, dim="again")), main)

    def test_variables_of_other_dimensions(self) -> None:
        main = make_main()
        with pytest.raises(LayoutError, match="same dimensions"):
            to_real(xr.Dataset({"a": main, "b": main.mean("X")}))
        with pytest.raises(LayoutError, match="no variables"):
            to_real(xr.Dataset())
        with pytest.raises(OptionError, match="no numbers"):
            to_real(xr.DataArray(["a", "b"]))


class TestDtypes:
    def test_integers_that_no_float_holds(self) -> None:
        large = xr.Dataset({"a": ("x", [2**60 + 1]), "b": ("x", [0.5])})
        with pytest.raises(OptionError, match="'a' has integers of int64 that float64"):
            to_real(large)
        held = xr.Dataset({"a": ("x", [2**60]), "b": ("x", [0.5])})
        xr.testing.assert_identical(from_real(to_real(held)), held)
        alone = xr.DataArray(np.array([2**63 + 1], "u8"))
        assert to_real(alone).dtype == np.uint64
        xr.testing.assert_identical(from_real(to_real(alone)), alone)

    def test_integers_that_were_changed(self) -> None:
        real = compound().usid.to_real()
        with pytest.raises(OptionError, match="'n' had values of int16"):
            from_real(real + np.float32(0.5))
        kept = from_real(real + np.float32(0.5), restore=False)
        assert kept["n"].dtype == np.float32
        assert kept["Response"].dtype == np.complex64

    def test_another_precision_is_kept(self) -> None:
        real = make_main(dtype="complex64").usid.to_real().astype("f8")
        assert from_real(real).dtype == np.complex128
        assert from_real(real.astype("f2")).dtype == np.complex64
