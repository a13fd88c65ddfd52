"""Steps that take further Mains, or results of others, by the command line as in memory."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from usidx import steps
from usidx.cli import main as cli
from usidx.testing import make_main


@pytest.mark.parametrize(
    ("name", "of", "further"),
    [
        ("combine", "Raw_Data", {"other": "Raw_Data-Smooth_000/Smooth"}),
        ("flat_field", "Raw_Data", {"flat": "Raw_Data-Smooth_000/Smooth"}),
        (
            "reconstruct",
            "Raw_Data-PCA_000/Loadings",
            {"components": "Raw_Data-PCA_000/Components", "mean": "Raw_Data-PCA_000/Mean"},
        ),
        ("curl_divergence", "Raw_Data-Center_Of_Mass_000/Center_Of_Mass", {}),
    ],
)
def test_the_command_line_takes_other_mains(
    tmp_path: pathlib.Path, frames: xr.DataArray, name: str, of: str, further: Mapping[str, str]
) -> None:
    main = frames.astype(float) if name == "curl_divergence" else abs(make_main()) + 1
    path = usidx.to_h5usid(main.assign_attrs(make_main().attrs), tmp_path / "scan.h5")
    process = usidx.open(path, "Raw_Data").usid.process
    if name == "curl_divergence":
        process(steps.center_of_mass).run()
    elif name == "reconstruct":
        process(steps.pca, n_components=2).run()
    else:
        process(steps.smooth, width=3e3).run()
    told = [f"--source={key}={value}" for key, value in further.items()]
    given = {"how": "contrast"} if name == "combine" else {}
    told += [f"--set={key}={value}" for key, value in given.items()]
    answer = CliRunner().invoke(cli, ["run", path, of, name, "--json", *told])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["computed"]
    source = usidx.open(path, of)
    mains = {key: usidx.open(path, value).compute() for key, value in further.items()}
    step = steps.find(name)
    expected = step(source.compute(), **mains, **given)
    group = json.loads(answer.stdout)["group"]
    found = usidx.open(path, f"{group}/{step.name}")
    for each in expected if isinstance(expected, xr.Dataset) else [None]:
        one, other = (expected, found) if each is None else (expected[each], found[each])
        assert np.isfinite(other).all()
        np.testing.assert_allclose(other.squeeze(), one.squeeze(), rtol=1e-6, atol=1e-12)
