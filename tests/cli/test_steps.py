"""`usidx steps`."""

from __future__ import annotations

import json
from typing import Any

from usidx.step import registered


def test_every_step_is_listed(call: Any) -> None:
    rows = json.loads(call("steps", "--json").stdout)
    assert {each["tool"] for each in rows} >= {"SHO_Guess", "FFT_Filter", "Mean"}
    assert {each["tool"] for each in rows} == set(registered())
    (row,) = (each for each in rows if each["tool"] == "FFT_Filter")
    assert row["name"] == "fft_filter"
    assert "high" in row["parameters"]
    lines = call("steps").stdout.splitlines()
    assert len(lines) == len(rows)
    assert any(line.startswith("fft_filter ") and "Spectra of which" in line for line in lines)


def test_one_step_is_told_in_full(call: Any) -> None:
    told = call("steps", "fft_filter").stdout
    assert "Butterworth" in told
    (row,) = json.loads(call("steps", "FFT_Filter", "--json").stdout)
    assert row["version"]


def test_an_unknown_step_is_named(call: Any) -> None:
    result = call("steps", "fft_fliter")
    assert result.exit_code != 0
    assert "did you mean" in result.output


def test_every_step_has_a_summary_and_a_version() -> None:
    for step in registered().values():
        assert step.summary.endswith("."), step.name
        assert step.version
