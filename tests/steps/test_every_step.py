"""Every registered step through a process and through the command line, on small files.

What each of them makes is tested beside it; here, that both ways reach it and agree with the plain
function in memory, and what is asked of all of them.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from usidx import steps
from usidx.cli import main
from usidx.errors import PlanError, UsidError
from usidx.model.layout import Coordinate, Points
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
    "Map": {"function": "std"},
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
# The same step by its other ways.
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("FFT_Filter", {"high": 2e-4, "noise": 1e-2}),
    ("Resample", {"to": 9, "method": "fourier"}),
    ("Smooth", {"width": 6e3, "kind": "median"}),
    ("Smooth", {"width": 6e3, "kind": "mean"}),
    ("Normalize", {"by": "area"}),
    ("Sum", {}),
    ("Reduce", {"how": "std"}),
    ("Map", {"function": "gradient", "over": ["Frequency"], "output": ["Frequency"]}),
    ("Mean", {"over": ["X"]}),
    ("Bin", {"by": {"X": 2}, "how": "sum"}),
]
ALL = CASES + WAYS
# No formula says more about these, and nobody found them first.
PLAIN = {"Crop", "Pick", "Point_Detector", "Align"}
ELEMENTARY = {
    "Bin", "Combine", "Denoise", "Destripe", "Disk_Detector", "Flat_Field", "Integrate", "Map",
    "Mean", "Peak_Response", "Radial_Profile", "Reconstruct", "Reduce", "Ring_Detector", "SVD",
    "Statistics", "Stddev", "Sum",
}  # fmt: skip
# Those with neighbours.
OF_GRIDS = {"Gaussian_Filter", "Median_Filter", "Bin", "Destripe", "Drift", "Align"}
# Images at other values are taken together, and spectra along several dimensions.
TOGETHER = {"Drift", "Align", "PCA", "SVD", "Denoise", "NMF", "ICA", "Cluster"}
# A status says why there is no fit.
FITS = {"Curve_Fit", "SHO_Fit", "SHO_Guess"}


def test_every_step_is_here() -> None:
    ours = {n for n, each in steps.registered().items() if each.place.startswith("usidx.steps.")}
    assert ours == {name for name, _ in CASES} | OTHERS


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES} | OTHERS))
def test_it_says_what_it_does(name: str) -> None:
    made = steps.find(name)
    said = made.__doc__ or ""
    assert made.version
    for section in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"    {section}\n    ---" in said, section
    assert ">>> " in said
    assert made.summary.endswith(".")
    for each in list(made.signature.parameters):
        assert re.search(rf"^    ([a-z_]+, )*{each}(, [a-z_]+)* :", said, re.M), each
    if name not in PLAIN:
        assert "math:" in said, "no formula"
    published = re.search(r"[12]\d{3}[);]", said)
    library = re.search(r"`?(scipy|numpy|sklearn|skimage)\.", said)
    assert name in PLAIN | ELEMENTARY or published or library, "no source"


def source_of(kind: str) -> xr.DataArray:
    """Values in double precision, on which each step of a kind works."""
    if kind == "spectra":
        found = abs(make_main((4, 5, 24), dtype="float64"))
        return found.assign_attrs(quantity="Amplitude", units="V")
    if kind == "complex":
        return make_main((4, 5, 32), dtype="complex128")
    return usidx.from_array(
        np.random.default_rng(0).poisson(9, (3, 4, 12, 16)).astype(float),
        "Intensity",
        "counts",
        position=[usidx.Dimension(dim, "nm", size) for dim, size in (("Y", 3), ("X", 4))],
        spectroscopic=[
            usidx.Dimension("ky", "1/nm", np.linspace(-3, 3.6, 12)),
            usidx.Dimension("kx", "1/nm", np.linspace(10, 18, 16)),
        ],
    )


def kind_of(name: str) -> str:
    return "complex" if name in COMPLEX else "frames" if name in FRAMES else "spectra"


def made_by(name: str, data: xr.DataArray, parameters: dict[str, Any]) -> dict[str, xr.DataArray]:
    """The arrays that a step makes, by name."""
    if name in ("NMF", "ICA", "Cluster"):
        pytest.importorskip("sklearn")
    found = steps.find(name)(data, **parameters)
    return dict(found.items()) if isinstance(found, xr.Dataset) else {"": found}


def check_same(
    name: str, parameters: dict[str, Any], data: xr.DataArray, like: xr.DataArray, tol: float
) -> None:
    """A step makes the same of two arrays, or says of both what is wrong."""
    try:
        expected = {key: each.compute() for key, each in made_by(name, like, parameters).items()}
    except UsidError as error:
        with pytest.raises(type(error)):
            xr.Dataset(made_by(name, data, parameters)).compute()
        return
    found = made_by(name, data, parameters)
    assert set(found) == set(expected)
    for key, each in expected.items():
        got = found[key].transpose(*each.dims)
        size = float(np.nanmax(np.abs(each.values), initial=0))
        assert got.shape == each.shape
        assert got.attrs == each.attrs
        np.testing.assert_allclose(
            got.values, each.values, rtol=tol, atol=tol * size, err_msg=f"{key} {data.dtype}"
        )


every = pytest.mark.parametrize(("name", "parameters"), ALL, ids=[name for name, _ in ALL])


@every
def test_it_is_lazy_and_says_what_comes_out(name: str, parameters: dict[str, Any]) -> None:
    data = source_of(kind_of(name))
    cut = data.chunk(dict.fromkeys(data.dims, 2))  # along spectra and frames as well
    for each in made_by(name, cut, parameters).values():
        assert each.chunks is not None
        assert each.attrs.get("quantity")
        assert "units" in each.attrs
    check_same(name, parameters, cut, data, 1e-6)


@every
def test_values_of_any_dtype(name: str, parameters: dict[str, Any]) -> None:
    data = source_of(kind_of(name))
    if name in COMPLEX:
        check_same(name, parameters, data.astype(">c16"), data, 1e-9)
        check_same(name, parameters, data.astype("c8"), data, 1e-2)
        return
    near = data / data.max()
    kinds = {"i1": -128, "u1": 255, "i2": 32767, ">i2": 9000, "u4": 2**31, "f4": 1, "f2": 9}
    for dtype, most in kinds.items():
        if dtype == "f2" and name in ("Drift", "Align"):
            continue  # of what is noise for the most part
        values = near * most if dtype[-2] in "f" else (near * most).round()
        values = values.astype(dtype)
        check_same(name, parameters, values, values.astype(float), 2e-3 if dtype == "f2" else 1e-4)
    check_same(name, parameters, data.astype(">f8").chunk(), data, 1e-6)
    wave = data * np.exp(0.3j)
    check_same(name, parameters, wave.astype("c8"), wave, 1e-3)


# of nothing but NaN, NumPy says so
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of:RuntimeWarning", "ignore:Mean of:RuntimeWarning")
@every
def test_a_gap_stays_where_it_is(name: str, parameters: dict[str, Any]) -> None:
    data = source_of(kind_of(name))
    one, all_of_it = data.copy(deep=True), data.copy(deep=True)
    one[(1, 1) + (3,) * (data.ndim - 2)] = np.nan
    all_of_it[1, 1] = np.nan
    for gap in (one, all_of_it):
        check_same(name, parameters, gap.chunk(dict.fromkeys(data.dims, 2)), gap, 1e-6)
    if not steps.find(name).per_position:
        return
    whole = made_by(name, data, parameters)
    for gap in (one, all_of_it):
        for key, each in made_by(name, gap, parameters).items():
            got = each.transpose("Y", "X", ...).values.copy()
            expected = whole[key].transpose("Y", "X", ...).values.copy()
            if gap is all_of_it and name not in FITS:  # of nothing nothing is made
                assert np.isnan(got[1, 1]).all(), key
            got[1, 1] = expected[1, 1] = 0
            np.testing.assert_allclose(got, expected, rtol=1e-6, err_msg=key)


@every
@pytest.mark.parametrize("lazy", [False, True])
def test_few_values_or_none(name: str, parameters: dict[str, Any], lazy: bool) -> None:
    data = source_of(kind_of(name))
    for part in (data[:1, :1], data[:0], data[..., :1], data[..., :0]):
        try:
            for each in made_by(name, part.chunk() if lazy else part, parameters).values():
                each.compute()
        except UsidError:  # anything else would be a riddle
            pass


def as_list(data: xr.DataArray) -> xr.DataArray:
    """The same values at positions that are no grid."""
    n = data.sizes["Y"] * data.sizes["X"]
    places = np.random.default_rng(5).uniform(0, 9, (2, n))
    coordinates = tuple(
        Coordinate(dim, "nm", ("position",), each) for dim, each in zip("YX", places, strict=True)
    )
    return usidx.from_array(
        data.values.reshape(n, *data.shape[2:]),
        str(data.attrs.get("quantity") or "Amplitude"),
        str(data.attrs.get("units") or "V"),
        position=Points("position", coordinates),
        spectroscopic=[
            usidx.Dimension(str(dim), str(data[dim].attrs.get("units", "")), data[dim].values)
            for dim in data.dims[2:]
        ],
    )


@every
def test_positions_that_are_no_grid(name: str, parameters: dict[str, Any]) -> None:
    data = source_of(kind_of(name))
    positions = as_list(data).chunk(position=7)
    if name in OF_GRIDS or set(parameters.get("over", ())) & {"Y", "X"}:
        with pytest.raises(PlanError):
            made_by(name, positions, parameters)
        return
    found, whole = made_by(name, positions, parameters), made_by(name, data, parameters)
    for key, each in found.items():
        assert "Y" not in each.dims
        if steps.find(name).per_position:
            expected = whole[key].transpose("Y", "X", ...).values
            expected = expected.reshape(-1, *expected.shape[2:])
            got = each.transpose("position", ...).values
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-9, err_msg=key)


@every
def test_further_dimensions_are_done_one_by_one(name: str, parameters: dict[str, Any]) -> None:
    data = source_of(kind_of(name))
    cycles = xr.concat([data, data[::-1].assign_coords(Y=data.Y)], "Cycle")
    role = {"usid_role": "spectroscopic", "units": ""}
    cycles = cycles.assign_coords(Cycle=("Cycle", [0, 1], role)).transpose(*data.dims, "Cycle")
    taken = steps.find(name).signature.parameters
    if "along" in taken and "along" not in parameters:
        parameters = {**parameters, "along": "Frequency"}
    elif name in FRAMES:
        parameters = {**parameters, "over": ["ky", "kx"]}
    found = made_by(name, cycles.chunk(dict.fromkeys(cycles.dims, 2)), parameters)
    if name in TOGETHER:
        found[next(iter(found))].compute()
        return
    for number in (0, 1):
        whole = made_by(name, cycles.isel(Cycle=number, drop=True), parameters)
        for key, each in whole.items():
            if "Cycle" not in found[key].dims:  # reduced with all that is spectroscopic
                continue
            got = found[key].isel(Cycle=number).transpose(*each.dims).values
            np.testing.assert_allclose(got, each.values, rtol=1e-6, atol=1e-9, err_msg=key)
    if "along" in parameters:
        assert all("Cycle" in each.dims for each in found.values())


@every
def test_dimensions_in_any_order(name: str, parameters: dict[str, Any]) -> None:
    data = source_of(kind_of(name))
    if name == "Cluster":  # begins with some of the positions, which are others then
        return
    if name in ("Masks", "Point_Detector"):  # whose parameters are in the order of dimensions
        check_same(name, parameters, data.transpose("X", "ky", "Y", "kx"), data, 1e-6)
        return
    check_same(name, parameters, data.transpose(*data.dims[::-1]), data, 1e-3)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file for each kind of source."""
    folder = tmp_path_factory.mktemp("sources")
    mains = {name: source_of(name) for name in ("spectra", "complex", "frames")}
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
    kind = kind_of(name)
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


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Derivative", {"order": 1.5}),
        ("Savgol", {"window": 3.0}),
        ("Savgol", {"window": 5, "order": True}),
        ("Smooth", {"width": np.inf}),
        ("Peaks", {"most": 2.5}),
        ("Peaks", {"height": "3"}),
        ("PCA", {"n_components": True}),
        ("SVD", {"seed": "0"}),
        ("Denoise", {"n_components": 2.5}),
        ("NMF", {"n_components": 2, "passes": 1.5}),
        ("ICA", {"n_components": 2, "seed": 0.5}),
        ("Cluster", {"n_clusters": 2.0}),
        ("Gaussian_Filter", {"sigma": 1e9}),
        ("Gaussian_Filter", {"sigma": 0.2, "truncate": np.inf}),
    ],
)
def test_numbers_of_the_wrong_kind_are_refused_before_anything_runs(
    name: str, parameters: dict[str, Any]
) -> None:
    if name in ("NMF", "ICA", "Cluster"):
        pytest.importorskip("sklearn")
    with pytest.raises(PlanError, match="whole number|must be|reach over"):
        steps.find(name)(source_of("spectra").chunk(), **parameters)
