"""HyperSpy's files, as HyperSpy itself wrote them."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import subprocess
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import DamagedStoreError, NotUsidError
from usidx.testing import check_reader

HERE = pathlib.Path(__file__).parent


def told(samples: pathlib.Path, name: str) -> Any:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    return next(row for row in rows if row["path"] == f"hyperspy/{name}")


FILES = ["eels_si.hspy", "eels_si.zspy", "stem4d.hspy", "complex2d.hspy", "eels_decomposed.hspy"]


@pytest.mark.parametrize("name", FILES)
def test_samples(samples: pathlib.Path, name: str) -> None:
    facts = told(samples, name)
    opened = usidx.open(samples / "peers" / "hyperspy" / name)
    values = np.ascontiguousarray(opened.values)
    assert list(values.shape) == facts["shape"]
    assert values.dtype.str == facts["dtype"]
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
    roles = [*["position"] * len(opened.usid.position_dims)]
    roles += ["spectroscopic"] * len(opened.usid.spectroscopic_dims)
    for dim, role, axis in zip(opened.dims, roles, facts["axes"], strict=True):
        assert (role == "position") == axis["navigate"]
        if axis["name"] != "<undefined>":
            assert dim == axis["name"]
        assert opened[dim].attrs["units"] == (axis["units"] or "")
        expected = axis["offset"] + axis["scale"] * np.arange(axis["size"])
        np.testing.assert_allclose(opened[dim], expected, rtol=1e-12)
    check_reader(samples / "peers" / "hyperspy" / name, values)


def test_metadata_are_attributes(samples: pathlib.Path) -> None:
    opened = usidx.open(samples / "peers" / "hyperspy" / "eels_si.hspy")
    assert opened.name == "EELS SI test"
    assert opened.attrs["metadata.Acquisition_instrument.TEM.beam_energy"] == 200.0


def test_older_files(samples: pathlib.Path) -> None:
    path = samples / "instruments" / "hyperspy__rosettasciio" / "hspy" / "example2_v3.1.hspy"
    with h5py.File(path) as file:
        group = next(iter(file["Experiments"].values()))
        expected = group["data"][...]
    np.testing.assert_array_equal(usidx.open(path), expected)


def test_it_goes_to_h5usid_and_back(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    opened = usidx.open(samples / "peers" / "hyperspy" / "eels_si.hspy")
    back = usidx.open(opened.usid.to_h5usid(tmp_path / "a.h5"))
    np.testing.assert_array_equal(back, opened)
    assert back["Energy loss"].attrs["units"] == "eV"
    assert back.attrs["metadata.General.authors"] == "Test Author"


def test_axes_that_are_not_uniform(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = shutil.copy(samples / "peers" / "hyperspy" / "eels_si.hspy", tmp_path / "a.hspy")
    values = np.geomspace(100, 2000, 128)
    with h5py.File(path, "r+") as file:
        axis = file["Experiments/EELS SI test/axis-2"]
        axis["axis"] = values
    np.testing.assert_array_equal(usidx.open(path)["Energy loss"], values)
    with h5py.File(path, "r+") as file:
        axis = file["Experiments/EELS SI test/axis-2"]
        del axis["axis"]
        axis.attrs["expression"], axis.attrs["a"] = "a * x ^ 2 + sin(pi * x)", 3.0
        axis.create_group("x").attrs.update(scale=0.5, offset=1.0, size=128)
    x = 1 + 0.5 * np.arange(128)
    np.testing.assert_allclose(usidx.open(path)["Energy loss"], 3 * x**2 + np.sin(np.pi * x))
    with h5py.File(path, "r+") as file:
        file["Experiments/EELS SI test/axis-2"].attrs["expression"] = "x.__class__"
    with pytest.raises(NotUsidError, match="convert_to_non_uniform_axis"):
        usidx.open(path)


def test_stores_in_zip_files(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """HyperSpy writes .zspy into them where it is given a ZipStore."""
    folder = samples / "peers" / "hyperspy" / "eels_si.zspy"
    made = shutil.make_archive(str(tmp_path / "a"), "zip", folder)
    path = pathlib.Path(made).rename(tmp_path / "a.zspy")
    opened, whole = usidx.open(path), usidx.open(folder)
    xr.testing.assert_identical(opened.compute(), whole.compute())
    check_reader(path, whole.values)


def test_signals_of_one_title(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Each has its values and what was learned of it."""
    source = samples / "peers" / "hyperspy" / "eels_decomposed.hspy"
    path = shutil.copy(source, tmp_path / "a.hspy")
    with h5py.File(path, "r+") as file:
        first = file["Experiments/EELS SI test"]
        file.copy(first, "Experiments/another")
        for name in ("data", "learning_results/loadings"):
            file["Experiments/another"][name][...] *= 2
        first["metadata"]["many"] = np.arange(100.0)
    found = {row.path: usidx.open(path, row.path) for row in usidx.list_mains(path)}
    names = {each.rpartition("Channel_000/")[2]: array for each, array in found.items()}
    assert len(names) == 6
    for name in ("", "-Decomposition_000/Loadings"):
        twice = 2 * names[f"EELS SI test{name}"].values
        np.testing.assert_array_equal(names[f"another{name}"], twice)
    assert len(names["EELS SI test"].attrs["metadata.many"]) == 100


def test_signals_among_metadata(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A variance is its values, here and in what is written again."""
    path = shutil.copy(samples / "peers" / "hyperspy" / "eels_si.hspy", tmp_path / "a.hspy")
    variance = np.random.default_rng(0).random((4, 5, 9))
    with h5py.File(path, "r+") as file:
        place = file["Experiments/EELS SI test/metadata/Signal"]
        kept = place.create_group("Noise_properties/_sig_variance")
        kept["data"] = variance
        kept.create_group("metadata/General").attrs["title"] = "of the noise"
    opened = usidx.open(path)
    np.testing.assert_array_equal(
        opened.attrs["metadata.Signal.Noise_properties.variance"], variance
    )
    assert "of the noise" not in map(str, opened.attrs.values())
    with h5py.File(opened.usid.to_hspy(tmp_path / "b.hspy")) as file:
        (group,) = file["Experiments"].values()
        again = group["metadata/Signal/Noise_properties"]
        assert list(again) == ["variance"]
        np.testing.assert_array_equal(again["variance"], variance)


def test_first_files(tmp_path: pathlib.Path) -> None:
    """Those of before version 1.1 of the format, which did not say what they are."""
    values = np.arange(12.0).reshape(3, 4)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        group = file.create_group("Experiments/first")
        group["data"] = values
        for number, size in enumerate(values.shape):
            group.create_group(f"axis-{number}").attrs.update(
                name="yE"[number], units="eV", navigate=not number, scale=0.5, offset=1.0, size=size
            )
        group.create_group("mapped_parameters").attrs.update(name="Old", record_by="spectrum")
        group.create_group("original_parameters").attrs["key"] = 3
    opened = usidx.open(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(opened, values)
    assert (opened.name, opened.usid.position_dims) == ("Old", ("y",))
    np.testing.assert_array_equal(opened["E"], 1 + 0.5 * np.arange(4))
    assert opened.attrs["metadata.record_by"] == "spectrum"


def test_ragged_and_broken_ones_are_refused(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = shutil.copy(samples / "peers" / "hyperspy" / "eels_si.hspy", tmp_path / "a.hspy")
    with h5py.File(path, "r+") as file:
        file["Experiments/EELS SI test/attributes"].attrs["ragged"] = True
    with pytest.raises(NotUsidError, match="ragged"):
        usidx.open(path)
    with h5py.File(path, "r+") as file:
        del file["Experiments"]
    with pytest.raises(DamagedStoreError, match="no Experiments"):
        usidx.open(path)


@pytest.fixture(scope="module")
def written(peers_python: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Folder of signals of all shapes, as HyperSpy writes them."""
    folder = tmp_path_factory.mktemp("hyperspy")
    command = [peers_python, HERE / "hyperspy_writes.py", folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_signals_of_all_shapes(written: pathlib.Path) -> None:
    """Values, dtypes, roles, units and coordinates, of .zspy where HyperSpy could write them."""
    said = json.loads((written / "axes.json").read_text())
    refused = {"ragged": "ragged"}
    for path in sorted([*written.glob("*.hspy"), *written.glob("*.zspy")]):
        if path.stem in refused:
            with pytest.raises(NotUsidError, match=refused[path.stem]):
                usidx.open(path)
            continue
        expected = np.load(written / f"{path.stem}.npy")
        if expected.dtype.names:
            expected = np.stack([expected[name] for name in expected.dtype.names], axis=-1)
        opened = usidx.open(path)
        assert opened.dtype == expected.dtype.newbyteorder("="), path
        np.testing.assert_array_equal(opened, expected, err_msg=str(path))
        for dim, axis in zip(opened.dims, said[path.stem]):
            np.testing.assert_allclose(opened[dim], axis["values"], 1e-15, err_msg=str(path))
            assert opened[dim].attrs["units"] == axis["units"]
            assert (dim in opened.usid.position_dims) == axis["navigate"]
            assert dim == axis["name"]


def test_what_hyperspy_learned(written: pathlib.Path) -> None:
    """Components and loadings are results beside the signal."""
    path = written / "decomposed.hspy"
    kept = np.load(written / "learned.npz")
    rows = {row.path.rpartition("-")[2]: row for row in usidx.list_mains(path)}
    assert [row.kind for row in rows.values()] == ["raw", *["result"] * 4]
    for tool, prefix in (("Decomposition_000", ""), ("Separation_000", "bss_")):
        loadings = usidx.open(path, rows[f"{tool}/Loadings"].path)
        assert loadings.dims == ("y", "x", "Component")
        expected = kept[f"{prefix}loadings"]
        np.testing.assert_array_equal(loadings, expected.reshape(4, 5, -1))
        components = usidx.open(path, rows[f"{tool}/Components"].path)
        assert components.dims == ("Component", "kx")
        np.testing.assert_array_equal(components, kept[f"{prefix}factors"].T)
        np.testing.assert_array_equal(components["kx"], usidx.open(path)["kx"])
    attrs = usidx.open(path).attrs
    assert attrs["learning_results.decomposition_algorithm"] == "SVD"
    assert len(attrs["learning_results.explained_variance_ratio"]) == 3


def test_learned_from_the_sample(samples: pathlib.Path) -> None:
    path = samples / "peers" / "hyperspy" / "eels_decomposed.hspy"
    with h5py.File(path) as file:
        kept = file["Experiments/EELS SI test/learning_results"]
        factors, loadings = kept["factors"][...], kept["loadings"][...]
    check_reader(path, factors.T, "Components", cut_short=False)
    check_reader(path, loadings.reshape(6, 5, 3), "Loadings", cut_short=False)
