"""What tests of stores behind URLs share: a server of this machine, and files in memory."""

from __future__ import annotations

import pytest

from tests.stores.remote.serving import serving


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder) as state:
        yield state


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec", reason="URLs are reached through fsspec")
    files = fsspec.filesystem("memory")
    yield files
    for each in files.ls("/", detail=False):
        files.rm(each, recursive=True)
