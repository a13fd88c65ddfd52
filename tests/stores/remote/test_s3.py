"""Stores in S3, on a server of this machine."""

from __future__ import annotations

import json
import os
import urllib.request

import dask
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from tests.stores.remote.made import VALUES, write_scan
from usidx.cli import main
from usidx.errors import (
    OptionError,
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


def test_zarr_v2_in_s3(s3, files, tmp_path):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))
    url = array.usid.to_zarr("s3://lab/old.zarr", storage_options=s3, zarr_format=2)

    assert np.array_equal(usidx.open(url, storage_options=s3), VALUES)
    plain = xr.open_zarr(url, group="Measurement_000/Channel_000/Raw_Data", storage_options=s3)
    assert np.array_equal(plain.Raw_Data, VALUES)
    assert plain.Bias.attrs["units"] == array.Bias.attrs["units"]
    assert not [each for each in files.find("lab/old.zarr") if each.endswith("zarr.json")]


def test_what_is_not_in_s3(s3):
    for url in ("s3://lab/nothing.h5", "s3://lab/nothing.zarr", "s3://nobody/scan.h5"):
        with pytest.raises(StoreNotFoundError, match="nothing"):
            usidx.open(url, storage_options=s3)


def test_through_obstore(s3, files, tmp_path, monkeypatch):
    obstore = pytest.importorskip("obstore.fsspec")
    from fsspec.registry import _registry as known

    path = write_scan(tmp_path / "scan.h5", chunks=(16, 8))
    files.put(str(path), "lab/rust.h5")
    monkeypatch.setitem(known, "s3", type(files))  # which is there again in the end
    obstore.register("s3")
    config = {"endpoint": s3["client_kwargs"]["endpoint_url"], "region": "us-east-1",
              "access_key_id": "any", "secret_access_key": "any"}  # fmt: skip
    options = {"config": config, "client_options": {"allow_http": True}}
    array = usidx.open("s3://lab/rust.h5", storage_options=options)
    assert np.array_equal(array, VALUES)
    array.usid.to_zarr("s3://lab/rust.zarr", storage_options=options, chunks={"Bias": 8})
    found = usidx.open("s3://lab/rust.zarr", storage_options=options)
    assert np.array_equal(found.isel(Y=1), VALUES[1])
    with pytest.raises(StoreNotFoundError):
        usidx.open("s3://lab/none.h5", storage_options=options)
    monkeypatch.undo()
    assert np.array_equal(usidx.open("s3://lab/rust.zarr", storage_options=s3), VALUES)


def test_versions_in_s3(s3, tmp_path):
    pytest.importorskip("icechunk", reason="versions are kept by Icechunk")
    array = usidx.open(write_scan(tmp_path / "scan.h5"))
    how = {"endpoint_url": s3["client_kwargs"]["endpoint_url"], "region": "us-east-1",
           "access_key_id": "any", "secret_access_key": "any", "allow_http": True,
           "force_path_style": True}  # fmt: skip
    url = array.usid.to_zarr("icechunk+s3://lab/scan.icechunk", storage_options=how)
    (array + 1).rename("Raw_Data").usid.to_zarr(url, storage_options=how, overwrite=True)

    assert np.array_equal(usidx.open(f"{url}@main", storage_options=how), VALUES + 1)


@pytest.fixture
def guarded(s3, files, tmp_path):
    """The same server, asking who is there; keys of a user who may do nothing."""
    import boto3
    from moto.core.responses import ActionAuthenticatorMixin as Asking

    files.put(str(write_scan(tmp_path / "scan.h5")), "lab/scan.h5")
    endpoint = s3["client_kwargs"]["endpoint_url"]
    iam = boto3.client("iam", endpoint_url=endpoint, region_name="us-east-1")
    name = tmp_path.name[:60]
    iam.create_user(UserName=name)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    _ask(endpoint, "0")
    yield {**s3, "key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    Asking.request_count = 0
    _ask(endpoint, "inf")


def _ask(endpoint, after):
    url, plain = f"{endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    request = urllib.request.Request(url, data=after.encode(), method="POST", headers=plain)
    urllib.request.urlopen(request).read()


def test_whoever_may_not_is_told_what_to_do(guarded, s3, tmp_path):
    array = usidx.open(tmp_path / "scan.h5")
    forged = {**guarded, "secret": "not-the-secret"}

    for options in (guarded, forged, {**guarded, "key": "unknown-key"}):
        for url in ("s3://lab/scan.h5", "s3://lab/scan.zarr"):
            with pytest.raises(StoreAccessError, match="say who you are") as told:
                usidx.open(url, storage_options=options)
            assert "\n" not in str(told.value)
            assert not any(options[each] in str(told.value) for each in ("key", "secret"))
        with pytest.raises(StoreAccessError, match="say who you are"):
            array.usid.to_zarr("s3://lab/made.zarr", storage_options=options)


def test_what_else_is_wrong_with_a_url_is_told(s3, tmp_path):
    array = usidx.open(write_scan(tmp_path / "scan.h5"))
    off = {**s3, "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}}
    off["config_kwargs"] = {"retries": {"max_attempts": 0}}

    with pytest.raises(StoreNotFoundError, match="no bucket 'nobody'"):
        array.usid.to_zarr("s3://nobody/scan.zarr", storage_options=s3)
    with pytest.raises(OptionError, match="names in storage_options") as told:
        usidx.open("s3://lab/scan.h5", storage_options={**s3, "sekret": "mine-alone"})
    assert "mine-alone" not in str(told.value)
    with pytest.raises(StoreAccessError, match="no server answers there.*endpoint_url"):
        usidx.open("s3://lab/scan.h5", storage_options=off)
    with pytest.raises(StoreAccessError, match="say who you are"):
        usidx.open("s3://lab/scan.h5", storage_options={"profile": "nobody"})


def test_secrets_of_a_terminal_are_for_its_urls_and_in_nothing(s3, files, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    files.put(str(write_scan(tmp_path / "scan.h5")), "lab/mine.h5")
    url, secret = "s3://lab/mine.h5", "never-to-be-seen"
    endpoint = s3["client_kwargs"]["endpoint_url"]
    said = [
        f"--storage-option={each}"
        for each in ("key=any", f"secret={secret}", f"client_kwargs.endpoint_url={endpoint}")
    ]
    held = {"key": "any", "secret": secret, "client_kwargs": {"endpoint_url": endpoint}}
    (tmp_path / "s3.json").write_text(json.dumps({"s3://lab": held}))
    (tmp_path / "s3.yaml").write_text(json.dumps(held))

    def call(*words, status=0):
        told = CliRunner().invoke(main, words)
        assert told.exit_code == status, told.output
        assert secret not in told.output
        return told.output

    assert "Raw_Data" in call("info", url, *said)
    assert "Raw_Data" in call("tree", url, "--storage-options", "s3.yaml")
    call("convert", url, "local.zarr", *said)
    call("convert", "local.zarr", "s3://lab/back.zarr", *said)
    call("run", url, "Raw_Data", "normalize", "--into", "results.zarr", *said)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    process = usidx.open(url, storage_options=held).usid.process(usidx.steps.smooth, width=2)
    with pytest.raises(KeyboardInterrupt):
        process.run(into="results.zarr", on_block=stop, memory="20 kB", workers=1)
    assert "say who you are" in call("resume", "results.zarr", status=1)
    assert "complete" in call("resume", "results.zarr", "--storage-options", "s3.json")
    for more in ([], ["--script"], ["--json"]):
        made = ["results.zarr", "Smooth", "--storage-options", "s3.json", *more]
        assert url in call("history", *made)
    written = [each for each in tmp_path.rglob("*") if each.is_file() and each.suffix != ".yaml"]
    assert not [
        each for each in written if each.name != "s3.json" and secret.encode() in each.read_bytes()
    ]
    assert not [each for each in files.find("lab") if secret.encode() in files.cat(each)]
    # a file may name any URL: only those that somebody named get the keys
    elsewhere = json.dumps({"s3://other": held})
    (tmp_path / "other.json").write_text(elsewhere)
    assert "say who you are" in call("info", url, "--storage-options", "other.json", status=1)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["info", "s3://lab/a.h5", "--storage-option", "my-secret"], 2, "is not KEY=VALUE"),
        (["info", "a.h5", "--storage-option", "key=my-secret"], 2, "there are none"),
        (["info", "s3://lab/a.h5", "--storage-options", "no.json"], 1, "cannot be read"),
        (["info", "s3://lab/a.h5", "--storage-options", "bad.json"], 1, "no JSON"),
    ],
)
def test_storage_options_said_wrong(words, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("my-secret")

    told = CliRunner().invoke(main, words)

    assert told.exit_code == status
    assert message in told.output
    assert "my-secret" not in told.output


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
