"""`usidx info` and `usidx tree` report what a file holds."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest


def test_info_lists_the_mains(call: Any, scan: pathlib.Path) -> None:
    result = call("info", scan)
    assert result.exit_code == 0
    assert "Raw_Data" in result.stdout
    assert "complex64" in result.stdout


def test_info_of_a_main_says_what_it_is(call: Any, scan: pathlib.Path) -> None:
    text = call("info", scan, "Raw_Data").stdout
    assert "/Measurement_000/Channel_000/Raw_Data" in text
    assert "Frequency (Hz)" in text
    assert "300000 .. 345000" in text
    assert "no results yet" in text


def test_info_for_scripts(call: Any, scan: pathlib.Path) -> None:
    (entry,) = json.loads(call("info", scan, "--json").stdout)
    assert entry["path"] == "/Measurement_000/Channel_000/Raw_Data"
    assert entry["shape"] == [6, 8, 32]
    assert entry["dims"] == ["Y", "X", "Frequency"]
    assert entry["kind"] == "raw"
    found = json.loads(call("info", scan, "Raw_Data", "--json").stdout)
    assert [(each["name"], each["role"], each["size"]) for each in found["dims"]] == [
        ("Y", "position", 6),
        ("X", "position", 8),
        ("Frequency", "spectroscopic", 32),
    ]
    assert found["dims"][2]["last"] == 345e3
    assert found["results"] == []


def test_results_are_told(call: Any, scan: pathlib.Path) -> None:
    assert call("run", scan, "Raw_Data", "peak_response").exit_code == 0
    assert "Raw_Data-Peak_Response_000  complete" in call("info", scan, "Raw_Data").stdout
    (found,) = json.loads(call("info", scan, "Raw_Data", "--json").stdout)["results"]
    assert found["tool"] == "Peak_Response"
    assert found["status"] == "complete"
    tree = call("tree", scan).stdout
    assert "[complete]" in tree


def test_tree_is_nested_as_the_file(call: Any, two: pathlib.Path) -> None:
    text = call("tree", two).stdout
    assert "├─ Channel_000" in text
    assert "└─ Channel_001" in text
    assert text.count("Raw_Data") == 2
    nested = json.loads(call("tree", two, "--json").stdout)
    assert nested["Measurement_000"]["Channel_001"]["Raw_Data"]["shape"] == [6, 8, 32]


@pytest.mark.parametrize(
    "name",
    [
        "real/Signal_SI__df40204b.h5",
        "real/SingFreqPFM_0003__78de268c.h5",
        "real/sparse_sampling__8e91f113.h5",
        "pyusid/28_beps_small_like_h5py.h5",
        "pyusid/07_compound_sho_V20.h5",
        "pyusid/16_labels_vlen_h5py.h5",
    ],
)
def test_files_of_others(call: Any, samples: pathlib.Path, name: str) -> None:
    path = samples / "h5usid" / name
    before = path.read_bytes()
    entries = json.loads(call("info", path, "--json").stdout)
    assert entries
    assert call("tree", path).exit_code == 0
    for entry in entries:
        found = json.loads(call("info", path, entry["path"], "--json").stdout)
        assert found["path"] == entry["path"]
        assert call("info", path, entry["path"]).exit_code == 0
    assert path.read_bytes() == before
