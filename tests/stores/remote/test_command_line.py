"""Commands of `usidx` on stores behind URLs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import usidx
from tests.stores.remote.made import VALUES, write_scan
from tests.stores.remote.serving import serving
from usidx.cli import main

fsspec = pytest.importorskip("fsspec", reason="URLs are reached through fsspec")
pytest.importorskip("aiohttp", reason="fsspec reaches http:// through aiohttp")


@pytest.fixture
def url(tmp_path):
    write_scan(tmp_path / "scan.h5")
    with serving(tmp_path) as served:
        yield f"{served.url}/scan.h5"


def test_info_and_tree(url):
    for command in (["info"], ["tree"], ["history"]):
        told = CliRunner().invoke(main, [*command, url])
        assert told.exit_code == 0, told.output
        assert "Raw_Data" in told.output
    told = CliRunner().invoke(main, ["info", url, "Raw_Data", "--json"])
    assert json.loads(told.output)["shape"] == list(VALUES.shape)


def test_what_cannot_be_done_with_a_url(url):
    told = CliRunner().invoke(main, ["validate", url])
    assert told.exit_code == 1
    assert "download" in told.output
    told = CliRunner().invoke(main, ["info", url.replace("scan", "none")])
    assert told.exit_code == 1
    assert "there is nothing at" in told.output


def test_convert_from_one_url_to_another(url):
    told = CliRunner().invoke(main, ["convert", url, "memory://converted/scan.zarr"])

    assert told.exit_code == 0, told.output
    try:
        assert np.array_equal(usidx.open("memory://converted/scan.zarr"), VALUES)
    finally:
        fsspec.filesystem("memory").rm("/converted", recursive=True)


@pytest.mark.parametrize(
    ("text", "store", "main"),
    [
        ("Raw_Data", None, "Raw_Data"),
        ("s3://lab/flats.h5", "s3://lab/flats.h5", None),
        ("s3://lab/flats.h5:Raw_Data", "s3://lab/flats.h5", "Raw_Data"),
        ("http://host:8080/flats.h5", "http://host:8080/flats.h5", None),
        ("http://host:8080/a/flats.h5:/a/Raw", "http://host:8080/a/flats.h5", "/a/Raw"),
    ],
)
def test_a_source_of_a_step_may_be_a_url(text, store, main):
    from usidx.cli.run import _store_and_main

    assert _store_and_main(text) == (store, main)
