"""Fixtures that every test may use."""

from __future__ import annotations

import os
import pathlib

import pytest

PEERS = "USIDX_PEERS_PYTHON"
SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "shared" / "samples"


@pytest.fixture(scope="session")
def samples() -> pathlib.Path:
    """Folder of real files with ground truth; tests that need it skip where it is absent."""
    if not SAMPLES.is_dir():
        pytest.skip(f"the sample files are not at {SAMPLES}")
    return SAMPLES


@pytest.fixture(scope="session")
def peers_python() -> str:
    """Path of a Python that has HyperSpy, LiberTEM and sidpy; tests that need it skip without."""
    python = os.environ.get(PEERS, "")
    if not pathlib.Path(python).is_file():
        pytest.skip(f"{PEERS} names no Python with HyperSpy, LiberTEM and sidpy")
    return python
