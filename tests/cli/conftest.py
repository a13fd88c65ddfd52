"""What tests of the command line share: a way to call it, and small files to call it on."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from usidx.cli import main
from usidx.testing import make_main

Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Call:
    """Call `usidx` with these arguments, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def of(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(each) for each in arguments])

    return of


@pytest.fixture
def scan(tmp_path: pathlib.Path) -> pathlib.Path:
    """An h5USID file with one complex raw Main (Y 6, X 8, Frequency 32)."""
    path = tmp_path / "scan.h5"
    make_main((6, 8, 32), dtype="complex64").usid.to_h5usid(str(path))
    return path


@pytest.fixture
def two(tmp_path: pathlib.Path) -> pathlib.Path:
    """An h5USID file with two raw Mains of the same name in two channels."""
    import h5py

    path = tmp_path / "two.h5"
    make_main((6, 8, 32)).usid.to_h5usid(str(path))
    with h5py.File(path, "r+") as file:
        file.copy("Measurement_000/Channel_000", "Measurement_000/Channel_001", expand_refs=False)
        channel = file["Measurement_000/Channel_001"]
        for side in ("Position", "Spectroscopic"):
            for kind in ("Indices", "Values"):
                name = f"{side}_{kind}"
                channel["Raw_Data"].attrs[name] = channel[name].ref
    return path
