"""Every registered step through a process and through the command line, on small files.

What each of them makes is tested beside it; here, that both ways reach it and agree with the plain
function in memory.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from usidx import steps
from usidx.cli import main
from usidx.testing import make_main

SPECTRA = {
    "Baseline": {"iterations": 3},
    "Curve_Fit": {"model": "constant"},
    "Derivative": {},
    "FFT_Filter": {"high": 2e-4},
    "Integrate": {"windows": [[310e3, 330e3]]},
    "Normalize": {},
    "PCA": {"n_components": 2},
    "SVD": {"n_components": 2},
    "Denoise": {"n_components": 2},
    "NMF": {"n_components": 2},
    "ICA": {"n_components": 2},
    "Cluster": {"n_clusters": 2},
    "Peak_Response": {},
    "Peaks": {},
    "Resample": {"to": 9},
    "Savgol": {"window": 5},
    "Smooth": {"width": 3e3},
    "Statistics": {},
    "Mean": {},
    "Reduce": {"how": "median"},
    "Sum": {"over": ["Y", "X"]},
    "Stddev": {},
    "Gaussian_Filter": {"sigma": {"X": 0.2}},
    "Median_Filter": {},
    "Crop": {"to": {"X": [0.2, 0.8]}},
    "Bin": {"by": {"X": 2}},
    "Destripe": {"along": "X"},
    "Level": {},
    "Threshold": {},
    "Pick": {"at": {"X": 0.4, "Y": 0.1}},
    "Align": {"along": "Frequency", "over": ["Y", "X"]},
    "Drift": {"along": "Frequency", "over": ["Y", "X"]},
}
COMPLEX: dict[str, dict[str, Any]] = {"SHO_Guess": {}, "SHO_Fit": {}}
FRAMES = {
    "Masks": {"masks": np.ones((2, 12, 16)).tolist()},
    "Disk_Detector": {"radius": 2},
    "Ring_Detector": {"inner": 1, "outer": 2},
    "Point_Detector": {"at": [0, 14]},
    "Center_Of_Mass": {},
    "Radial_Profile": {},
}
# Stored under the names of BGlib; test_sho.py and test_sho_fit.py compare them.
RENAMED = {"SHO_Fit", "SHO_Guess"}
# Of more than one Main, or of a result; their own tests run them through processes.
OTHERS = {"Combine", "Flat_Field", "Reconstruct", "Curl_Divergence"}
CASES = [*SPECTRA.items(), *COMPLEX.items(), *FRAMES.items()]


def test_every_step_is_here() -> None:
    ours = {n for n, each in steps.registered().items() if each.place.startswith("usidx.steps.")}
    assert ours == {name for name, _ in CASES} | OTHERS


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file for each kind of source."""
    folder = tmp_path_factory.mktemp("sources")
    mains = {
        "spectra": abs(make_main((6, 8, 24), dtype="float64")),
        "complex": make_main((4, 5, 32), dtype="complex128"),
        "frames": usidx.from_array(
            np.random.default_rng(0).poisson(9, (3, 4, 12, 16)).astype("uint16"),
            "Intensity",
            "counts",
            position=[usidx.Dimension(dim, "nm", size) for dim, size in (("Y", 3), ("X", 4))],
            spectroscopic=[
                usidx.Dimension("ky", "1/nm", np.linspace(-3, 3.6, 12)),
                usidx.Dimension("kx", "1/nm", np.linspace(10, 18, 16)),
            ],
        ),
    }
    for name, each in mains.items():
        attrs = each.attrs or {"quantity": "Amplitude", "units": "V"}
        usidx.to_h5usid(each.assign_attrs(attrs), str(folder / f"{name}.h5"))
    return {name: str(folder / f"{name}.h5") for name in mains}


def values_of(found: Any) -> dict[str, np.ndarray]:
    """The values of a result by name, whatever form it has."""
    if isinstance(found, xr.DataTree):
        parts = [values_of(each.to_dataset()) for each in found.children.values()]
        return {name: values for each in parts for name, values in each.items()}
    if isinstance(found, xr.Dataset):
        return {str(name): each.values.squeeze() for name, each in found.items()}
    return {"": found.values.squeeze()}


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=[name for name, _ in CASES])
def test_a_process_and_the_command_line_reach_it(
    sources: dict[str, str], tmp_path: Any, name: str, parameters: dict[str, Any]
) -> None:
    if name in ("NMF", "ICA", "Cluster"):
        pytest.importorskip("sklearn")
    kind = "complex" if name in COMPLEX else "frames" if name in FRAMES else "spectra"
    made = steps.find(name)
    source, into = usidx.open(sources[kind]), str(tmp_path / "found.h5")
    expected = values_of(made(source.compute(), **parameters))
    result = source.usid.process(made, **parameters).run(into=into, workers=1)
    found = values_of(result.open())
    assert set(found) == set(expected) or name in RENAMED
    for key, values in expected.items() if name not in RENAMED else ():
        np.testing.assert_allclose(found[key], values, rtol=1e-5, atol=1e-6, err_msg=key)
    settings = [f"{key}={json.dumps(value)}" for key, value in parameters.items()]
    command = ["run", sources[kind], "Raw_Data", made.__name__, "--into", into, "--json"]
    told = CliRunner().invoke(main, [*command, *(f"--set={each}" for each in settings)])
    assert told.exit_code == 0, told.output
    # the same parameters name the same result, which is there already
    assert json.loads(told.stdout)["computed"] is False, told.stdout
    assert json.loads(told.stdout)["group"] == result.path
