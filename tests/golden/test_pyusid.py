"""Our files in the eyes of pyUSID 0.0.12: what it opens is what we wrote."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
import usidx.model.layout
from usidx.testing import make_main

pytestmark = pytest.mark.pyusid
See = Callable[[pathlib.Path | str], dict[str, Any]]
ORACLE = pathlib.Path(__file__).with_name("oracle.py")


@pytest.fixture
def see(tmp_path: pathlib.Path, pyusid_python: str) -> See:
    """What pyUSID sees in a file, with the N-D form of each Main as `array`, and its `rows`."""

    def look(path: pathlib.Path | str) -> dict[str, Any]:
        folder = tmp_path / f"seen-{pathlib.Path(path).name}"
        folder.mkdir()
        done = subprocess.run(
            [pyusid_python, str(ORACLE), str(path), str(folder)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads((folder / "seen.json").read_text())
        for main in seen["mains"]:
            main["rows"] = np.load(folder / main["rows"])
            if "file" in main:
                main["array"] = np.load(folder / main["file"])
        return seen

    return look


def assert_same(seen: dict[str, Any], ours: xr.DataArray) -> None:
    """Values, labels, units and coordinates as pyUSID has them are those of our array."""
    if "arb" in seen["labels"] and "arb" not in ours.dims:
        # A map has no spectroscopic dimension, and a column of its own in the file.
        ours = ours.expand_dims(arb=[0.0])
        ours["arb"].attrs["units"] = "a. u."
    assert sorted(seen["labels"]) == sorted(ours.dims)
    values = ours.transpose(*seen["labels"]).values
    assert seen["array"].dtype == values.dtype
    np.testing.assert_array_equal(seen["array"], values)
    assert (seen["quantity"], seen["units"]) == (ours.attrs["quantity"], ours.attrs["units"])
    for role in ("position", "spectroscopic"):
        for dimension in seen[role]:
            coordinate = ours[dimension["label"]]
            assert dimension["units"] == coordinate.attrs["units"]
            np.testing.assert_allclose(dimension["values"], coordinate.values, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "complex64", "complex128"])
def test_an_export_is_the_same_array_in_pyusid(
    tmp_path: pathlib.Path, see: See, dtype: str
) -> None:
    main = make_main((3, 4, 5), dtype=dtype)
    path = tmp_path / "out.h5"
    main.usid.to_h5usid(path)
    (seen,) = see(path)["mains"]
    assert_same(seen, main)


def test_six_dimensions_in_any_order(tmp_path: pathlib.Path, see: See) -> None:
    sizes = {"Y": 3, "X": 2, "Cycle": 2, "Field": 3, "Bias": 4, "Frequency": 5}
    rng = np.random.default_rng(1)
    dimensions = [usidx.Dimension(name, "V", 0.5 * np.arange(n)) for name, n in sizes.items()]
    main = usidx.from_array(
        rng.random(tuple(sizes.values())),
        quantity="Current",
        units="nA",
        position=dimensions[:2],
        spectroscopic=dimensions[2:],
    )
    path = tmp_path / "out.h5"
    main.usid.to_h5usid(path)
    (seen,) = see(path)["mains"]
    assert_same(seen, main)


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"checksums": False}], ids=str)
def test_however_it_is_stored(tmp_path: pathlib.Path, see: See, options: Any) -> None:
    main = make_main((3, 4, 5))
    (seen,) = see(main.usid.to_h5usid(tmp_path / "out.h5", **options))["mains"]
    assert_same(seen, main)


def test_large_coordinates_beside_a_main_do_not_disturb(tmp_path: pathlib.Path, see: See) -> None:
    height = np.random.default_rng(2).random((64, 64))
    ours = make_main((64, 64, 2)).assign_coords(height=(("Y", "X"), height))
    (main,) = see(ours.usid.to_h5usid(tmp_path / "scan.h5"))["mains"]
    assert_same(main, ours)


def test_a_compound_main_has_its_fields(tmp_path: pathlib.Path, see: See) -> None:
    main = make_main((3, 4, 5))
    fields = xr.Dataset(
        {"Amplitude [V]": main.max("Frequency"), "Center": main.argmax("Frequency")},
        attrs={"usid_main": "Fit", "quantity": "SHO", "units": "compound"},
    )
    (seen,) = see(usidx.to_h5usid(fields, tmp_path / "out.h5"))["mains"]
    assert (seen["path"].rsplit("/", 1)[-1], seen["quantity"]) == ("Fit", "SHO")
    assert seen["rows"].dtype.names == ("Amplitude [V]", "Center")
    for name, field in fields.data_vars.items():
        np.testing.assert_array_equal(seen["rows"][name].reshape(3, 4), field)


def test_points_are_marked_as_incomplete(tmp_path: pathlib.Path, see: See) -> None:
    columns = tuple(
        usidx.model.layout.Coordinate(name, "um", ("position",), np.array(values), np.arange(3))
        for name, values in (("Y", [0.0, 2.0, 5.0]), ("X", [1.0, 1.5, 7.5]))
    )
    main = usidx.from_array(
        np.arange(12.0).reshape(3, 4),
        "Height",
        "nm",
        position=usidx.model.layout.Points("position", columns),
        spectroscopic=usidx.Dimension("t", "s", [0.0, 1.0, 2.0, 4.0]),
    )
    (seen,) = see(main.usid.to_h5usid(tmp_path / "out.h5"))["mains"]
    assert seen["types"] == {"position": [1, 1], "spectroscopic": [0]}
    assert seen["position_values"] == [[0.0, 1.0], [2.0, 1.5], [5.0, 7.5]]
    np.testing.assert_array_equal(seen["rows"], main)
    assert "array" not in seen  # pyUSID knows that it is no grid


def test_quantities_that_change_with_others_are_marked(tmp_path: pathlib.Path, see: See) -> None:
    path = tmp_path / "out.h5"
    bias = usidx.model.layout.Coordinate(
        "Bias", "V", ("Cycle", "Bias_index"), np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]])
    )
    side = usidx.model.layout.Grid(
        "spectroscopic",
        (usidx.Dimension("Cycle", "", 2), usidx.Dimension("Bias_index", "", 3, label="Bias")),
        (bias,),
    )
    main = usidx.from_array(
        np.arange(24.0).reshape(4, 2, 3),
        "Current",
        "nA",
        position=usidx.Dimension("X", "um", 4),
        spectroscopic=side,
    )
    (seen,) = see(main.usid.to_h5usid(path))["mains"]
    assert seen["types"] == {"position": [0], "spectroscopic": [0, 2]}
    np.testing.assert_array_equal(seen["rows"], main.values.reshape(4, 6))
    np.testing.assert_array_equal(usidx.open(path).Bias, bias.values)


def test_rows_are_in_the_order_of_acquisition(tmp_path: pathlib.Path, see: See) -> None:
    order = np.array([0, 1, 2, 5, 4, 3])  # there, and back
    side = usidx.model.layout.Grid(
        "position", (usidx.Dimension("Y", "um", 2), usidx.Dimension("X", "um", 3)), order=order
    )
    main = usidx.from_array(
        np.arange(12.0).reshape(2, 3, 2),
        "Height",
        "nm",
        position=side,
        spectroscopic=usidx.Dimension("t", "s", 2),
    )
    (seen,) = see(main.usid.to_h5usid(tmp_path / "out.h5"))["mains"]
    np.testing.assert_array_equal(seen["rows"], main.usid.to_2d())
    assert [row[1] for row in seen["position_values"]] == [0, 1, 2, 2, 1, 0]


def test_channels_that_were_added(tmp_path: pathlib.Path, see: See) -> None:
    path = tmp_path / "out.h5"
    first, second = make_main((3, 4, 5)), make_main((3, 4, 5), dtype="complex64", seed=1)
    first.usid.to_h5usid(path, checksums=False)
    second.usid.to_h5usid(path, append="Measurement_000")
    usidx.to_h5usid({"Height": first, "Phase": second}, path, append=True)
    seen = {main["path"]: main for main in see(path)["mains"]}
    assert_same(seen["/Measurement_000/Channel_000/Raw_Data"], first)
    assert_same(seen["/Measurement_000/Channel_001/Raw_Data"], second)
    assert_same(seen["/Measurement_001/Channel_000/Height"], first)
    assert_same(seen["/Measurement_001/Channel_001/Phase"], second)


def test_a_file_of_pyusid_that_was_added_to(
    tmp_path: pathlib.Path, see: See, samples: pathlib.Path
) -> None:
    path = tmp_path / "scan.h5"
    shutil.copyfile(samples / "h5usid" / "pyusid" / "02_4d_slow_to_fast.h5", path)
    (before,) = see(path)["mains"]
    main = usidx.open(path).load()
    (usidx.open(path) * 2).usid.to_h5usid(path, append="Measurement_000")
    shutil.rmtree(tmp_path / "seen-scan.h5")
    old, new = see(path)["mains"]
    np.testing.assert_array_equal(old["rows"], before["rows"])
    assert_same(new, (main * 2).assign_attrs(main.attrs))


def test_tools_of_hdf5_1_10_read_everything(tmp_path: pathlib.Path) -> None:
    dump = shutil.which("h5dump")
    if dump is None:
        pytest.skip("there is no h5dump; apt install hdf5-tools")
    version = subprocess.run([dump, "--version"], capture_output=True, text=True).stdout.strip()
    path = tmp_path / "out.h5"
    main = make_main((3, 4, 5), dtype="complex64")
    main.usid.to_h5usid(path, compression="gzip")
    main.usid.to_h5usid(path, append=True)
    main.usid.to_h5usid(path, append=True, checksums=False)
    usidx.open(path, "Measurement_000/Channel_000/Raw_Data").usid.process(
        usidx.steps.peak_response, along="Frequency"
    ).run()
    done = subprocess.run([dump, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, f"{version}: {done.stderr}"
    assert done.stdout.count("Raw_Data") > 3


def test_real_files_survive_a_round_trip(
    tmp_path: pathlib.Path, see: See, samples: pathlib.Path
) -> None:
    source = samples / "h5usid" / "pyusid" / "28_beps_small_like_h5py.h5"
    main = usidx.open(source)
    path = tmp_path / "out.h5"
    main.usid.to_h5usid(path)
    (seen,) = see(path)["mains"]
    assert_same(seen, main)


def test_result_groups_are_found_by_pyusid(tmp_path: pathlib.Path, see: See) -> None:
    path = tmp_path / "out.h5"
    make_main((3, 4, 16)).usid.to_h5usid(path)
    main = usidx.open(path)
    result = main.usid.process(usidx.steps.peak_response, along="Frequency").run()
    seen = see(path)
    (group,) = seen["groups"]
    assert group["path"].rsplit("/", 1)[-1] == result.name == "Raw_Data-Peak_Response_000"
    assert group["source"] == "/Measurement_000/Channel_000/Raw_Data"
    assert group["attrs"]["tool"] == "Peak_Response"
    assert group["attrs"]["along"] == "Frequency"
    assert group["completed"] == group["positions"] == 12
    (computed,) = [each for each in seen["mains"] if each["path"].startswith(group["path"])]
    assert_same(computed, result.open())
    np.testing.assert_allclose(
        np.squeeze(computed["array"]), np.abs(main.values).max(-1), rtol=1e-6
    )
