"""`usidx run --source`: parameters of a step that are other Mains."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from click.testing import CliRunner

import usidx
from usidx.cli import main
from usidx.testing import make_main

STEPS = '''
from usidx.step import step


@step("Over", version="1", per_position=True)
def over(spectra, *, flat):
    """Spectra over those of the empty field."""
    return (spectra / flat).assign_attrs(spectra.attrs)
'''


@pytest.mark.parametrize("other", ["scan.h5", "flats.zarr"])
def test_another_main(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("my_steps.py").write_text(STEPS)
    raw = make_main((3, 4, 5))
    flat = (raw + 2).assign_attrs(raw.attrs).rename("Flat")
    usidx.to_h5usid([raw, flat], "scan.h5")
    usidx.to_zarr(flat, "flats.zarr")
    source = "flat=Flat" if other == "scan.h5" else "flat=flats.zarr:Flat"
    asked = ["run", "scan.h5", "Raw_Data", "my_steps.py:over", "--source", source]
    ended = CliRunner().invoke(main, asked)
    assert ended.exit_code == 0, ended.output
    result = usidx.open("scan.h5", "Over")
    np.testing.assert_allclose(result, raw / (raw + 2), rtol=1e-6)
    (found,) = usidx.open("scan.h5", "Raw_Data").usid.results()
    assert found.sources[1].parameters == ("flat",)
    assert pathlib.Path(found.sources[1].store).name == other
    assert "was there already" in CliRunner().invoke(main, asked).output


def test_what_is_no_source(tmp_path: pathlib.Path) -> None:
    path = usidx.to_h5usid(make_main((3, 4, 5)), tmp_path / "scan.h5")
    asked = ["run", path, "Raw_Data", "mean", "--source"]
    assert "is not NAME=MAIN" in CliRunner().invoke(main, [*asked, "flat"]).output
    assert CliRunner().invoke(main, [*asked, "flat=Nothing"]).exit_code != 0
