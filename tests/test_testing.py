"""What usidx offers for tests of others."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings

from usidx.model.layout import Grid, Points
from usidx.testing import layouts, mains, make_main


def test_mains_are_the_same_at_every_call():
    xr.testing.assert_identical(make_main(), make_main())
    assert not make_main().equals(make_main(seed=1))


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i2", "u1"])
def test_dtypes(dtype):
    array = make_main(dtype=dtype)
    assert array.dtype == np.dtype(dtype)
    assert float(abs(array).max()) > 0


def test_chunks_and_sizes():
    array = make_main((3, 1, 8), chunks={"Y": 1})
    assert array.sizes == {"Y": 3, "X": 1, "Frequency": 8}
    assert array.chunks == ((1, 1, 1), (1,), (8,))


def test_resonances_look_like_resonances():
    peak = make_main((8, 8, 64)).idxmax("Frequency")
    assert float(peak.min()) > 312e3
    assert float(peak.max()) < 328e3
    assert float(peak.std()) > 1e3


@settings(max_examples=40, deadline=None)
@given(layouts("spectroscopic"))
def test_layouts_are_of_their_side(layout):
    assert layout.role == "spectroscopic"
    assert isinstance(layout, (Grid, Points))


@settings(max_examples=40, deadline=None)
@given(mains())
def test_mains_have_a_spec(array):
    assert array.usid.spec.shape == array.shape
    assert len(np.unique(array)) == array.size
