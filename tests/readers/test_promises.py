"""The promises of readers, each on a sample of its own, on the workers of a cluster as well."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

import usidx
from usidx.readers import readers
from usidx.testing import check_reader

RSCIIO = "instruments/hyperspy__rosettasciio"
# Sample, Main and options for each reader; texts do not say how long they are.
SAMPLES: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "hyperspy": ("peers/hyperspy/stem4d.hspy", None, {}),
    "nion": ("peers/nion/stack.nhdf", None, {}),
    "tiff": ("peers/tiff/stack_plain.tif", None, {"cut_short": False}),
    "picture": ("peers/tiff/img.png", None, {}),
    "numpy": ("peers/numpy/f.npy", None, {}),
    "mib": ("peers/libertem/scan.mib", None, {}),
    "blo": (f"{RSCIIO}/blockfile/test1.blo", None, {}),
    "mrc": ("peers/libertem/stack.mrc", None, {"nav_shape": (2, 3)}),
    "tvips": ("peers/libertem/scan_000.tvips", None, {"nav_shape": (2, 3)}),
    "edf": ("peers/silx_fabio/multiframe.edf", None, {}),
    "fabio": ("peers/silx_fabio/img.cbf", None, {}),
    "spec": ("instruments/silx-training/oleg.dat", "94.1/mca_0", {"cut_short": False}),
    "pyme": ("peers/pyme/series_A.h5", None, {}),
    "pzf": ("peers/pyme/frame_raw.pzf", None, {}),
    "xarray": ("peers/xarray/eels_netcdf4.nc", None, {}),
    "nsid": ("peers/pyusid/nsid.h5", None, {}),
    "nexus": ("peers/silx_fabio/nxdata.h5", None, {}),
    "hdf5": ("peers/libertem/scan4d.h5", None, {}),
    "table": ("peers/csv/long_form.csv", None, {"cut_short": False}),
    "rosettasciio": (f"{RSCIIO}/bruker/16x16_12bit_packed_8bit.bcf", "EDX", {}),
    "raw": (
        "peers/libertem/frames.raw",
        None,
        {"reader": "raw", "dtype": "<u2", "sig_shape": (16, 20), "cut_short": False},
    ),
}
# These are checked where their files are made; ARINA's reaches other files.
ELSEWHERE = {
    "arina", "csr", "empad", "igor", "libertem", "nanonis_3ds", "nanonis_dat", "nanonis_sxm",
    "netpbm", "psf", "pyme_metadata", "sf",
}  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "threads_per_worker": 2}
    with (
        LocalCluster(n_workers=1, processes=True, **options) as cluster,
        Client(cluster, set_as_default=False) as made,
    ):
        yield made


@pytest.mark.parametrize("name", SAMPLES)
def test_promises(samples: pathlib.Path, client: Any, name: str) -> None:
    reader = readers()[name]
    if reader.missing:
        pytest.skip(f"{name} needs {', '.join(reader.missing)}")
    place, main, options = SAMPLES[name]
    path = samples / place
    own = {key: value for key, value in options.items() if key != "cut_short"}
    opened = usidx.open(path, main, **own)
    # what the values are, test_samples.py checks
    check_reader(path, opened.values, main, client=client, **options)


def test_every_reader_is_checked() -> None:
    known = readers().values()
    built_in = {each.name for each in known if each.read.__module__.startswith("usidx.")}
    assert not built_in - set(SAMPLES) - ELSEWHERE
