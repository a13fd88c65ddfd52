"""HyperSpy's files, as usidx writes them."""

from __future__ import annotations

import json
import pathlib
import subprocess

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import OptionError, StoreExistsError
from usidx.testing import make_main

READS = pathlib.Path(__file__).parents[1] / "readers" / "formats" / "hyperspy_reads.py"
SAMPLES = ["eels_si.hspy", "stem4d.hspy", "complex2d.hspy"]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_hyperspy_wrote_comes_back(
    samples: pathlib.Path, tmp_path: pathlib.Path, name: str
) -> None:
    source = usidx.open(samples / "peers" / "hyperspy" / name)
    back = usidx.open(source.usid.to_hspy(tmp_path / "a.hspy"))
    xr.testing.assert_equal(back, source)
    assert back.dtype == source.dtype
    assert back.usid.position_dims == source.usid.position_dims
    for dim in source.dims:
        assert back[dim].attrs["units"] == source[dim].attrs["units"]
    for key, value in source.attrs.items():
        if key.startswith("metadata.") and key != "metadata.General.title":
            assert back.attrs[key] == value


def test_layout_of_the_file(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What is in the file, compared with what HyperSpy wrote itself."""
    original = samples / "peers" / "hyperspy" / "eels_si.hspy"
    path = usidx.open(original).usid.to_hspy(tmp_path / "a.hspy")
    with h5py.File(original) as theirs, h5py.File(path) as ours:
        assert dict(ours.attrs) == dict(theirs.attrs)
        wanted, found = (file["Experiments/EELS SI test"] for file in (theirs, ours))
        for axis in ("axis-0", "axis-1", "axis-2"):
            assert dict(found[axis].attrs) == dict(wanted[axis].attrs)
        assert dict(found["attributes"].attrs) == dict(wanted["attributes"].attrs)
        assert found["metadata/General"].attrs["authors"] == "Test Author"
        assert found["original_metadata/vendor"].attrs["label"] == "µm test"
        assert found["data"].chunks is not None


@pytest.mark.parametrize("lazy", [False, True])
def test_rosettasciio_reads_it(tmp_path: pathlib.Path, lazy: bool) -> None:
    hspy = pytest.importorskip("rsciio.hspy", reason="RosettaSciIO is an extra")
    steps = np.geomspace(1.0, 50.0, 16)
    main = make_main((4, 5, 16)).assign_coords(temperature=(("Y", "X"), np.ones((4, 5))))
    main["Frequency"] = ("Frequency", steps, main["Frequency"].attrs)
    main.attrs |= {"names": ["a", "b"], "metadata.General.authors": "unknown"}
    (signal,) = hspy.file_reader(str(main.usid.to_hspy(tmp_path / "a.hspy")), lazy=lazy)
    np.testing.assert_array_equal(np.asarray(signal["data"]), main.values)
    y, x, frequency = signal["axes"]
    assert (y["name"], y["units"], y["navigate"], y["scale"]) == ("Y", "um", True, 0.5)
    assert x["size"] == 5
    assert frequency["_type"] == "DataAxis"
    assert frequency["navigate"] is False
    np.testing.assert_array_equal(frequency["axis"], steps)
    assert signal["metadata"]["General"]["authors"] == "unknown"
    assert signal["metadata"]["Signal"]["quantity"] == "Cantilever Vertical Deflection (V)"
    told = signal["original_metadata"]["usid"]
    assert told["attributes"]["names"] == ["a", "b"]
    np.testing.assert_array_equal(
        np.asarray(told["coordinates"]["temperature"]["values"]), np.ones((4, 5))
    )
    if lazy:
        hspy._api._close_tracked_handles(str(tmp_path / "a.hspy"))


def test_values_that_go_up_and_down(tmp_path: pathlib.Path) -> None:
    main = make_main((2, 3, 8))
    bias = np.array([0.0, 1, 2, 1, 0, -1, -2, -1])
    main["Frequency"] = ("Frequency", bias, main["Frequency"].attrs)
    path = main.usid.to_hspy(tmp_path / "a.hspy")
    with h5py.File(path) as file:
        group = file["Experiments/Raw_Data"]
        assert group["axis-2"].attrs["_type"] == "UniformDataAxis"
        assert (group["axis-2"].attrs["offset"], group["axis-2"].attrs["scale"]) == (0.0, 1.0)
        kept = group["original_metadata/usid/coordinates/Frequency"]
        np.testing.assert_array_equal(kept["values"], bias)
        assert kept.attrs["units"] == "Hz"
    back = usidx.open(path)  # usidx knows them again
    np.testing.assert_array_equal(back["Frequency"], bias)
    assert back["Frequency"].attrs["units"] == "Hz"


def test_what_hyperspy_has_no_place_for_comes_back(tmp_path: pathlib.Path) -> None:
    heights = np.arange(12.0).reshape(4, 3)
    main = make_main((4, 3, 2)).assign_coords(
        height=(("Y", "X"), heights, {"units": "nm", "usid_role": "position"}),
        Frequency=("Frequency", ["real", "imag"], {"usid_role": "spectroscopic"}),
    )
    main.attrs |= {"operator": "unknown", "gains": [1.0, 2.0]}
    back = usidx.open(main.usid.to_hspy(tmp_path / "a.hspy"))
    np.testing.assert_array_equal(back["height"], heights)
    assert back["height"].attrs["units"] == "nm"
    assert list(back["Frequency"].values) == ["real", "imag"]
    assert back.attrs["operator"] == "unknown"
    assert list(back.attrs["gains"]) == [1.0, 2.0]
    assert "original_metadata" not in back.attrs


@pytest.mark.parametrize("write", ["to_hspy", "to_nsid"])
def test_times_texts_and_odd_attributes(tmp_path: pathlib.Path, write: str) -> None:
    """Times are times again, texts along two axes as well; what HDF5 does not have is text."""
    times = np.array(["2020-01-01", "NaT", "2020-01-05"], "M8[ns]")
    main = make_main((2, 3, 4)).assign_coords(
        X=times,
        Frequency=("Frequency", np.array([1, 2, 5, 4], "m8[s]")),
        label=(("Y", "X"), np.array([["a", "b", "µ"], ["c", "d", "e"]])),
        operator="Å",
        height=2.5,
    )
    main.attrs |= {"day": np.datetime64("2020-01-01"), "large": 2**70, "raw": b"abc"}
    back = usidx.open(getattr(main.usid, write)(tmp_path / "a.h5"))
    for name in main.coords:
        np.testing.assert_array_equal(back[name], main[name])
        assert back[name].dtype.kind == main[name].dtype.kind
    found = [back.attrs[name] for name in ("day", "large", "raw")]
    assert found == ["2020-01-01", str(2**70), "abc"]
    with pytest.raises(OptionError, match="is one value"):
        getattr(main[0, 0, 0].usid.assign_roles(spectroscopic=[]).usid, write)(tmp_path / "b.h5")


def test_single_precision_axes_are_uniform(tmp_path: pathlib.Path) -> None:
    main = make_main((2, 3, 8))
    values = np.linspace(0.1, 0.8, 8, dtype="f4")
    main["Frequency"] = ("Frequency", values, main["Frequency"].attrs)
    back = usidx.open(main.usid.to_hspy(tmp_path / "a.hspy"))
    np.testing.assert_allclose(back["Frequency"], values, rtol=1e-6)


def test_several_mains(tmp_path: pathlib.Path) -> None:
    from usidx.exporting import to_hspy

    first, second = make_main(seed=0), make_main(seed=1)
    path = to_hspy([first, second], tmp_path / "a.hspy", compression="gzip")
    with h5py.File(path) as file:
        assert list(file["Experiments"]) == ["Raw_Data", "Raw_Data_1"]
        np.testing.assert_array_equal(file["Experiments/Raw_Data_1/data"], second)


def test_blocks_are_computed_one_by_one(tmp_path: pathlib.Path) -> None:
    main, told = make_main((8, 5, 16)).chunk({"Y": 2}), []
    main.usid.to_hspy(tmp_path / "a.hspy", progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.hspy"), main)


def test_failures_leave_what_was_there(tmp_path: pathlib.Path) -> None:
    main = make_main()
    path = pathlib.Path(main.usid.to_hspy(tmp_path / "a.hspy"))
    before = path.read_bytes()
    with pytest.raises(StoreExistsError):
        main.usid.to_hspy(path)

    def failing(block: np.ndarray) -> np.ndarray:
        raise ValueError("no")

    broken = main.chunk().copy(data=main.chunk().data.map_blocks(failing, dtype=main.dtype))
    with pytest.raises(ValueError, match="no"):
        broken.usid.to_hspy(path, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    words = xr.DataArray([["a", "b"]], dims=("Y", "X")).usid.assign_roles(["Y", "X"])
    with pytest.raises(OptionError, match="numbers"):
        words.usid.to_hspy(tmp_path / "b.hspy")
    pair = xr.Dataset({"a": main, "b": main})
    with pytest.raises(OptionError, match="compound"):
        pair.usid.to_hspy(tmp_path / "b.hspy")


def test_it_replaces_the_file_that_it_reads(tmp_path: pathlib.Path) -> None:
    path = make_main().usid.to_hspy(tmp_path / "a.hspy")
    opened = usidx.open(path)
    (opened + 1).usid.to_hspy(path, overwrite=True)
    np.testing.assert_array_equal(usidx.open(path), make_main() + 1)


def test_hyperspy_reads_it(tmp_path: pathlib.Path, peers_python: str) -> None:
    """Values, axes, roles and titles, as HyperSpy sees them."""
    uneven = make_main((4, 5, 16))
    uneven["Frequency"] = ("Frequency", np.geomspace(1.0, 50.0, 16), uneven["Frequency"].attrs)
    flags = make_main((2, 3, 4)) > 5
    made = {
        "map": make_main((4, 5, 16), dtype="c8"),
        "uneven": uneven,
        "spectrum": make_main((1, 1, 16)).squeeze(drop=True).usid.assign_roles([]),
        "image": make_main((4, 5, 1)).isel(Frequency=0, drop=True).usid.assign_roles(["Y", "X"]),
        "flags": flags.usid.assign_roles(["Y", "X"], quantity="Flag", units=""),
        "large": make_main((3, 2, 5)).astype(">i4"),
    }
    for name, main in made.items():
        main.usid.to_hspy(tmp_path / f"{name}.hspy")
    subprocess.run([peers_python, READS, tmp_path], check=True, capture_output=True)
    kinds = {"map": "LazyComplexSignal1D", "image": "LazySignal"}
    for name, main in made.items():
        seen = json.loads((tmp_path / f"{name}-seen.json").read_text())
        values = np.load(tmp_path / f"{name}-seen.npy")
        np.testing.assert_array_equal(values, main, err_msg=name)
        assert values.dtype == main.dtype.newbyteorder("=")
        assert seen["kind"] == kinds.get(name, "LazySignal1D")
        assert [each["name"] for each in seen["axes"]] == list(main.dims)
        for each in seen["axes"]:
            coordinate = main[each["name"]]
            np.testing.assert_allclose(each["values"], coordinate, rtol=1e-12, err_msg=name)
            assert each["units"] == coordinate.attrs["units"]
            assert each["navigate"] == (each["name"] in main.usid.position_dims)


def test_what_isel_leaves_over_comes_back(tmp_path: pathlib.Path) -> None:
    part = make_main((2, 3, 4)).isel(X=1)
    back = usidx.open(part.usid.to_hspy(tmp_path / "a.hspy"))
    assert back.dims == ("Y", "Frequency")
    assert float(back["X"]) == float(part["X"])
