"""Steps against figures of LiberTEM and HyperSpy, which scripts in `peers` make there."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx import steps
from usidx.model.dimension import Dimension

FOLDER = pathlib.Path(__file__).parent / "peers"
PARTS = ("loadings", "factors")
# A pixel of the frames in 1/nm, and where the first one is; positions in nm.
PITCH, FIRST, STEP = 0.5, (-3.0, 10.0), 2.0
# The center of LiberTEM's detectors, in pixels.
ROW, COLUMN = 5.2, 8.3
CENTER = [FIRST[0] + PITCH * ROW, FIRST[1] + PITCH * COLUMN]
RADIUS, INNER, OUTER = PITCH * 4.3, PITCH * 2.2, PITCH * 5.7


@pytest.fixture(scope="module")
def libertem() -> Mapping[str, np.ndarray]:
    """What LiberTEM made, and of what."""
    return np.load(FOLDER / "libertem.npz")


@pytest.fixture(params=["memory", "stored"])
def patterns(request, tmp_path, libertem) -> xr.DataArray:
    """The same frames with physical units."""
    values = libertem["frames"]
    rows, columns, v, u = values.shape
    data = usidx.from_array(
        values,
        "Intensity",
        "counts",
        position=[
            Dimension("Y", "nm", STEP * np.arange(rows)),
            Dimension("X", "nm", STEP * np.arange(columns)),
        ],
        spectroscopic=[
            Dimension("ky", "1/nm", FIRST[0] + PITCH * np.arange(v)),
            Dimension("kx", "1/nm", FIRST[1] + PITCH * np.arange(u)),
        ],
    )
    if request.param == "memory":
        return data
    return usidx.open(usidx.to_h5usid(data, tmp_path / "scan.h5"))


def test_detectors_are_those_of_libertem(patterns: xr.DataArray, libertem) -> None:
    made = {
        "masked": steps.apply_masks(patterns, masks=libertem["masks"]),
        "disk": steps.disk_detector(patterns, radius=RADIUS, center=CENTER),
        "ring": steps.ring_detector(patterns, inner=INNER, outer=OUTER, center=CENTER),
        "point": steps.point_detector(patterns, at=[FIRST[0] + 4 * PITCH, FIRST[1] + 9 * PITCH]),
        "sum": steps.sum(patterns, over=["Y", "X"]),
        "sum of frames": steps.sum(patterns),
        "stddev": steps.stddev(patterns, over=["Y", "X"]),
        "pick": steps.pick(patterns, at={"Y": 2 * STEP, "X": 5 * STEP}),
        "radial": steps.radial_profile(patterns, center=CENTER, width=PITCH)[..., :5],
    }
    for name, found in made.items():
        np.testing.assert_allclose(
            found.values.squeeze(), libertem[name], rtol=1e-5, atol=1e-3, err_msg=name
        )


@pytest.mark.parametrize("regression", [-1, 0, 1])
def test_centers_and_fields_are_those_of_libertem(patterns, libertem, regression: int) -> None:
    centers = steps.center_of_mass(patterns)
    if regression < 0:
        field = centers - dict(zip(centers, CENTER, strict=True))
    else:
        field = steps.level(centers, order=regression)
    field = field / PITCH
    found = np.stack([each.values for each in field.values()], -1)
    np.testing.assert_allclose(found, libertem[f"field {regression}"], atol=2e-5)
    both = steps.curl_divergence(field, over=["Y", "X"])
    for name in ("Curl", "Divergence"):
        expected = libertem[f"{name.lower()} {regression}"]
        np.testing.assert_allclose(STEP * both[name], expected, atol=5e-5, err_msg=name)


def test_centers_within_a_disk_are_those_of_libertem(patterns, libertem) -> None:
    found = steps.center_of_mass(patterns, radius=RADIUS, center=CENTER)
    pixels = [(each - first) / PITCH for each, first in zip(found.values(), FIRST, strict=True)]
    np.testing.assert_allclose(np.stack(pixels, -1), libertem["com"], rtol=1e-5)


@pytest.fixture(scope="module")
def hyperspy() -> Mapping[str, np.ndarray]:
    """What HyperSpy made, and of what."""
    return np.load(FOLDER / "hyperspy.npz")


def labelled(values: np.ndarray) -> xr.DataArray:
    """Values over (Y, X, Energy), whose coordinates are the numbers of the channels, lazily."""
    y, x, e = values.shape
    return usidx.from_array(
        values,
        "Intensity",
        "counts",
        position=[Dimension("Y", "nm", y), Dimension("X", "nm", x)],
        spectroscopic=[Dimension("Energy", "eV", np.arange(e, dtype=float))],
    ).chunk(Y=3)


def model_of(hyperspy: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """The spectra that HyperSpy's components make up, less what was taken away before."""
    loadings, factors = (hyperspy[f"{name} {each}"].astype(float) for each in PARTS)
    return (loadings @ factors.T).reshape(hyperspy["spectra"].shape)


@pytest.mark.parametrize("name", ["pca", "svd", "poisson"])
def test_components_are_those_of_hyperspy(hyperspy, name: str) -> None:
    options = {"pca": {"centre": True}, "svd": {"centre": False}, "poisson": {"poisson": True}}
    found = steps.pca(labelled(hyperspy["spectra"]), n_components=3, **options[name]).compute()
    loadings = found["Loadings"].values.reshape(-1, 3)
    np.testing.assert_allclose(
        (loadings @ found["Components"].values).reshape(hyperspy["spectra"].shape),
        model_of(hyperspy, name),
        atol=1e-3 * np.ptp(hyperspy["spectra"]),
    )
    # HyperSpy's are parts of what the components have that are left
    parts = found["Scree"] / found["Scree"].sum()
    np.testing.assert_allclose(parts, hyperspy[f"{name} ratio"], rtol=1e-5)
    for ours, theirs in zip(loadings.T, hyperspy[f"{name} loadings"].T, strict=True):
        assert abs(np.corrcoef(ours, theirs)[0, 1]) > 0.9999


def test_mixtures_are_told_apart_as_by_hyperspy(hyperspy) -> None:
    pytest.importorskip("sklearn")
    spectra = hyperspy["spectra"].astype(float)
    found = steps.nmf(labelled(hyperspy["spectra"]), n_components=3).compute()
    model = np.einsum("yxk,ke->yxe", found["Loadings"], found["Components"])
    left = np.linalg.norm(spectra - model)
    assert left < 1.001 * np.linalg.norm(spectra - model_of(hyperspy, "nmf"))


def test_spectra_are_treated_as_by_hyperspy(hyperspy) -> None:
    data = labelled(hyperspy["peaks"].astype(float))
    smooth = steps.savgol(data, window=7, order=3)
    np.testing.assert_allclose(smooth[..., 3:-3], hyperspy["savgol"][..., 3:-3], rtol=1e-5)
    slope = steps.derivative(data)
    np.testing.assert_allclose(slope, hyperspy["derivative"], atol=1e-5)
    binned = steps.bin(data, by={"Y": 2, "X": 3, "Energy": 4}, how="sum")
    np.testing.assert_allclose(binned, hyperspy["binned"], rtol=1e-5)


def test_fits_are_those_of_hyperspy(hyperspy) -> None:
    found = steps.curve_fit(labelled(hyperspy["peaks"].astype(float)), "lorentzian + constant")
    assert (found["status"] == 0).all()
    center, error = hyperspy["fit centre"], hyperspy["fit centre error"]
    np.testing.assert_array_less(abs(found["center"] - center), 0.02 * error)
    np.testing.assert_allclose(found["center_error"], error, rtol=1e-2)


def test_images_moved_as_hyperspy_says(hyperspy) -> None:
    stack = xr.DataArray(hyperspy["images"].astype(float), dims=("Time", "Y", "X"))
    found = steps.drift(stack, along="Time", over=["Y", "X"])
    ours = np.stack([each.values for each in found.values()], -1)
    np.testing.assert_allclose(ours, hyperspy["shifts"], atol=0.11)  # of a tenth of a pixel
