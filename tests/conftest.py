"""Fixtures that every test may use."""

from __future__ import annotations

import pathlib

import pytest

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "shared" / "samples"


@pytest.fixture(scope="session")
def samples() -> pathlib.Path:
    """Folder of real files with ground truth; tests that need it skip where it is absent."""
    if not SAMPLES.is_dir():
        pytest.skip(f"the sample files are not at {SAMPLES}")
    return SAMPLES
