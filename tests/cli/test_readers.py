"""`usidx readers`, and files of other systems at the other commands."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import usidx


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A bare array."""
    np.save(tmp_path / "a.npy", np.arange(24.0).reshape(2, 3, 4))
    return str(tmp_path / "a.npy")


def test_every_reader_is_listed(call: Any) -> None:
    rows = {row["name"]: row for row in json.loads(call("readers", "--json").stdout)}
    assert {"h5usid", "zarr", "netcdf", "numpy"} <= set(rows)
    assert rows["numpy"]["extensions"] == [".npy", ".npz"]
    said = call("readers").stdout
    assert "block by block: .npy" in said
    assert "as a whole: .png" in said
    assert max(map(len, said.splitlines())) <= 120


def test_commands_take_the_options_of_a_reader(call: Any, path: str) -> None:
    option = ("--option", "n_position=1", "--option", 'dims=["Y", "X", "f"]')
    told = json.loads(call("info", path, "--json", *option).stdout)
    assert told[0]["dims"] == ["Y", "X", "f"]
    assert "Raw_Data" in call("tree", path, *option).stdout
    assert "position" in call("info", path, "Raw_Data", "--reader", "numpy", *option).stdout


@pytest.mark.parametrize("ending", ["h5", "zarr", "nc"])
def test_conversion(call: Any, path: str, tmp_path: pathlib.Path, ending: str) -> None:
    target = str(tmp_path / f"out.{ending}")
    assert call("convert", path, target, "--option", "n_position=1").exit_code == 0
    back = usidx.open(target)
    np.testing.assert_array_equal(back, np.load(path))
    assert back.usid.position_dims == ("dim_0",)


def test_wrong_use(call: Any, path: str) -> None:
    for arguments, code, told in (
        (("--reader", "nunpy"), 1, "did you mean 'numpy'"),
        (("--option", "frob=1"), 1, "frob"),
        (("--option", "frob"), 2, "NAME=VALUE"),
    ):
        result = call("info", path, *arguments)
        assert result.exit_code == code
        assert told in result.stderr
