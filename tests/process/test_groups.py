"""Results that are not complete say so wherever they are shown."""

from __future__ import annotations

import json
import shutil

import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from usidx.cli import main as command
from usidx.process.results.groups import ResultList
from usidx.step import step

SMALL = {"memory": "33 kB", "workers": 1}


@step("Doubled", version="1")
def doubled(spectra: xr.DataArray, *, by: float = 2, mask: object = None) -> xr.DataArray:
    return (by * spectra).assign_attrs(spectra.attrs)


@pytest.fixture
def partial(source: xr.DataArray):
    """A result of which three of eight blocks are done, beside a complete one."""
    source.usid.process(doubled, by=3, mask=source.isel(Y=0, Frequency=0).compute()).run()
    blocks = []

    def stop(event: object) -> None:
        blocks.append(event)
        if len(blocks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.usid.process(doubled).run(on_block=stop, **SMALL)
    return source.usid.results()[1]


def test_a_list_of_results(partial, path: str) -> None:
    found = usidx.open(path).usid.results()
    assert isinstance(found, ResultList)
    title, *lines = repr(found).splitlines()
    assert title == f"<usidx 2 results of '/Measurement_000/Channel_000/Raw_Data' in {path}>"
    assert lines == [
        "  Raw_Data-Doubled_000  complete                      by=3, mask=<array (X: 20)>",
        "  Raw_Data-Doubled_001  37 % done, .resume() goes on  by=2, mask=None",
    ]
    assert "37 % done, .resume() goes on" in found._repr_html_()
    assert "<table>" in found._repr_html_()
    found[1].resume(step=doubled)
    assert "37 %" not in repr(found)
    assert "no results" in repr(usidx.open(path).usid.results("Other"))
    assert usidx.open(path).usid.results("Other") == []


def test_the_summary_and_the_group_itself(partial, path: str) -> None:
    assert repr(partial).splitlines()[0] == (
        "<usidx result 'Raw_Data-Doubled_001': 37 % done, .resume() goes on>"
    )
    told = repr(usidx.open(path).usid)
    assert "Raw_Data-Doubled_000: complete" in told
    assert "Raw_Data-Doubled_001: 37 % done, .resume() goes on" in told
    assert "37 % done, .resume() goes on" in usidx.open(path).usid._repr_html_()
    assert "Doubled(by=2, mask=None)" in repr(partial.open().usid)
    assert ": 37 % done, .resume() goes on" in repr(partial.open().usid)


def test_the_command_line(partial, path: str) -> None:
    told = CliRunner().invoke(command, ["info", path, "Raw_Data"]).output
    assert "Raw_Data-Doubled_000  complete" in told
    assert "partial, 37 % done (120 of 320 positions), usidx resume goes on" in told
    assert "[partial (37 %)]" in CliRunner().invoke(command, ["tree", path]).output
    told = CliRunner().invoke(command, ["history", path, "Raw_Data-Doubled_000/Doubled"]).output
    assert "2  Doubled(" in told
    asked = ["history", path, "Raw_Data-Doubled_000/Doubled", "--json"]
    assert len(json.loads(CliRunner().invoke(command, asked).output)["steps"]) == 2
    script = CliRunner().invoke(command, [*asked[:-1], "--script"]).output
    compile(script, "script", "exec")
    assert CliRunner().invoke(command, [*asked, "--script"]).exit_code == 2


def test_a_group_that_went_away(partial, path: str) -> None:
    if not path.endswith(".zarr"):
        pytest.skip("only folders are deleted so easily")
    found = usidx.open(path).usid.results()
    shutil.rmtree(f"{path}/{partial.path.strip('/')}")
    assert "not there" in repr(found)
