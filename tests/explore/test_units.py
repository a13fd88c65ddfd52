"""Units as they are typeset, and factors that bring values to where people read."""

from __future__ import annotations

import numpy as np
import pytest

from usidx.explore.units import pretty, scaled


@pytest.mark.parametrize(
    ("largest", "units", "factor", "shown"),
    [
        (335e3, "Hz", 1e-3, "kHz"),
        (2.5e-9, "A", 1e9, "nA"),
        (0.5, "um", 1e3, "nm"),
        (12.0, "um", 1.0, "µm"),
        (420.0, "pm", 1.0, "pm"),
        (1000.0, "V", 1e-3, "kV"),
        (999.0, "V", 1.0, "V"),
        (0.0, "V", 1.0, "V"),
        (1e6, "counts", 1.0, "counts"),
        (1e6, "", 1.0, ""),
        (1e-40, "V", 1e15, "fV"),
    ],
)
def test_scaled_brings_values_to_where_people_read(
    largest: float, units: str, factor: float, shown: str
) -> None:
    found, name = scaled(np.array([largest, np.nan, -largest / 3]), units)
    assert found == pytest.approx(factor)
    assert name == shown


def test_micro_is_typeset_and_nothing_else() -> None:
    assert pretty("um") == "µm"
    assert pretty("units") == "units"
    assert pretty("u") == "u"
