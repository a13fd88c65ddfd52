"""The pinned environment with pyUSID 0.0.12, for the tests that ask it."""

from __future__ import annotations

import os

import pytest

from tests.golden.make_environment import USUAL, is_made


@pytest.fixture(scope="session")
def pyusid_python() -> str:
    """Path of the Python that has pyUSID; tests that need it skip where there is none."""
    python = os.environ.get("USIDX_PYUSID_PYTHON")
    if python:
        return python
    if is_made(USUAL):
        return str(USUAL / "bin" / "python")
    pytest.skip(
        f"pyUSID 0.0.12 is not there: USIDX_PYUSID_PYTHON is not set and {str(USUAL)!r} is not "
        "made; see tests/golden/make_environment.py"
    )
