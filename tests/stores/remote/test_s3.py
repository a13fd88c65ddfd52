"""Stores in S3, on a server of this machine."""

from __future__ import annotations

import os

import dask
import numpy as np
import pytest

import usidx
from tests.stores.remote.made import VALUES, write_scan
from usidx.errors import (
    SourceChangedError,
    StoreAccessError,
    StoreExistsError,
    StoreNotFoundError,
    UsidError,
)

pytest.importorskip("s3fs", reason="S3 is reached through s3fs")
moto = pytest.importorskip("moto.server", reason="the S3 server of this machine is that of moto")


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """storage_options of a server with the bucket "lab"."""
    kept = dict(os.environ)
    os.environ.update(AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    import s3fs

    options = {
        "key": "any",
        "secret": "any",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}"},
    }
    s3fs.S3FileSystem(**options, use_listings_cache=False).mkdir("lab")
    yield options
    server.stop()
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def files(s3):
    import s3fs

    return s3fs.S3FileSystem(**s3, use_listings_cache=False)


@pytest.mark.parametrize("options", [{}, {"chunks": (32, 16), "compression": "gzip"}])
def test_an_h5usid_file_in_s3(s3, files, tmp_path, options):
    files.put(str(write_scan(tmp_path / "scan.h5", **options)), "lab/scan.h5")

    array = usidx.open("s3://lab/scan.h5", storage_options=s3)

    assert np.array_equal(array, VALUES)
    assert np.array_equal(array.isel(Y=2, X=3), VALUES[2, 3])
    assert len(usidx.list_mains("s3://lab/scan.h5", storage_options=s3)) == 1
    files.pipe("lab/scan.h5", b"other")
    with dask.config.set(scheduler="sync"), pytest.raises(SourceChangedError):
        array.compute()


def test_a_store_is_written_to_s3_and_read(s3, files, tmp_path):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))

    told = array.usid.to_zarr("s3://lab/made.zarr", storage_options=s3, chunks={"Bias": 8})

    assert told == "s3://lab/made.zarr"
    found = usidx.open("s3://lab/made.zarr", storage_options=s3)
    assert np.array_equal(found, VALUES)
    assert found.Bias.attrs == array.Bias.attrs
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        array.usid.to_zarr("s3://lab/made.zarr", storage_options=s3)
    (found + 1).rename("Raw_Data").usid.to_zarr(
        "s3://lab/made.zarr", storage_options=s3, overwrite=True, group=None
    )
    assert np.array_equal(usidx.open("s3://lab/made.zarr", storage_options=s3), VALUES + 1)
    assert not [each for each in files.find("lab") if "usidx-" in each]


def test_what_is_not_in_s3(s3):
    for url in ("s3://lab/nothing.h5", "s3://lab/nothing.zarr", "s3://nobody/scan.h5"):
        with pytest.raises(StoreNotFoundError, match="nothing"):
            usidx.open(url, storage_options=s3)


def test_who_may_not_read_s3_is_told(s3, files, tmp_path, monkeypatch):
    files.put(str(write_scan(tmp_path / "scan.h5")), "lab/mine.h5")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    nobody = {"client_kwargs": s3["client_kwargs"]}

    with pytest.raises(UsidError, match="storage_options") as told:
        usidx.open("s3://lab/mine.h5", storage_options=nobody)
    assert isinstance(told.value, StoreAccessError)
