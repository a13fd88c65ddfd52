"""Folders of frames."""

from __future__ import annotations

import pathlib

import pytest
import tifffile

from tests.stacking.frames import frame


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """An empty folder for frames."""
    path = tmp_path / "map"
    path.mkdir()
    return path


@pytest.fixture
def grid(folder: pathlib.Path) -> pathlib.Path:
    """A folder of 2 x 12 TIFFs named by Y and X without leading zeros; frame 12 * Y + X."""
    for y in range(2):
        for x in range(12):
            tifffile.imwrite(folder / f"scan_{y}_{x}.tif", frame(12 * y + x))
    return folder
