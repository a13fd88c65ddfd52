"""Fixtures of tests of readers."""

from __future__ import annotations

import os
import pathlib

import pytest

PEERS = "USIDX_PEERS_PYTHON"


@pytest.fixture(scope="session")
def peers_python() -> str:
    """Path of a Python that has HyperSpy, LiberTEM and sidpy; tests that need it skip without."""
    python = os.environ.get(PEERS, "")
    if not pathlib.Path(python).is_file():
        pytest.skip(f"{PEERS} names no Python with HyperSpy, LiberTEM and sidpy")
    return python
