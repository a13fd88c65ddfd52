"""What all blocks share is counted, and refused where it does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from usidx.errors import PlanError
from usidx.process.planning.held import held_by
from usidx.step import step


@step("Turned", version="1")
def turned(spectra: xr.DataArray) -> xr.DataArray:
    """Transformed maps: each is complex, and needed by every block of spectra."""
    maps = spectra.chunk({"Y": -1, "X": -1, "Frequency": 1})
    values = maps.data.map_blocks(np.fft.fft2, axes=(0, 1), dtype=complex)
    return maps.copy(data=values)


@step("Less", version="1")
def less(spectra: xr.DataArray) -> xr.DataArray:
    return spectra - spectra.mean(["Y", "X"])


def test_transformed_maps_are_held_together(source: xr.DataArray, truth: xr.DataArray) -> None:
    plan = source.usid.process(turned)._replan(memory=2 * 16 * truth.size, workers=1)
    assert held_by(plan) == 16 * truth.size
    with pytest.raises(PlanError, match=r"array\.isel.*cluster"):
        source.usid.process(turned).run(memory=16 * truth.size - 1, workers=1)
    with pytest.raises(PlanError, match="stay in memory"):
        source.usid.process(turned).estimate(memory=16 * truth.size - 1, workers=1)
    assert source.usid.process(turned).estimate().memory > 16 * truth.size
    found = source.usid.process(turned).run(memory=2 * 16 * truth.size, workers=1).open()
    np.testing.assert_allclose(found, np.fft.fft2(truth, axes=(0, 1)), rtol=1e-4, atol=1e-3)


def test_a_mean_of_all_is_next_to_nothing(source: xr.DataArray, truth: xr.DataArray) -> None:
    plan = source.usid.process(less)._replan(memory=66_000, workers=2)
    assert 0 < held_by(plan) < truth.nbytes / 4
