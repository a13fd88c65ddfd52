"""The promises of readers, each on a sample of its own, on the workers of a cluster as well."""

from __future__ import annotations

import pathlib
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

import usidx
from tests.readers.made import MADE
from usidx.errors import MissingDependencyError
from usidx.readers import Reader, finding, readers
from usidx.testing import check_reader
from usidx.testing.contract import TELLING

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
# Files are made of at least 4 MiB, which tells whether one block reads one block. Texts of numbers
# are many times as long in memory.
LARGE = (20, 256, 512)
LARGE_FOR = {"blo": (40, 256, 1), "empad": (70, 1, 1), "spec": (4, 256, 512)}


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
    skip_without(name)
    place, main, options = SAMPLES[name]
    path = samples / place
    own = {key: value for key, value in options.items() if key != "cut_short"}
    opened = usidx.open(path, main, **own)
    # what the values are, test_samples.py checks
    check_reader(path, opened.values, main, client=client, **options)


@pytest.mark.parametrize("name", MADE)
def test_promises_on_larger_files(tmp_path: pathlib.Path, client: Any, name: str) -> None:
    """Whether they are lazy is told by files that the test makes, of which it knows the values."""
    skip_without(name)
    made = MADE[name](tmp_path, LARGE_FOR.get(name, LARGE))
    beside: Any = made.beside
    check_reader(made.path, made.values, made.main, beside=beside, client=client, **made.options)


def skip_without(name: str) -> None:
    reader = readers()[name.partition(",")[0]]
    if reader.missing:
        pytest.skip(f"{name} needs {', '.join(reader.missing)}")


def test_a_module_that_is_missing_is_no_damage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def read(path: str) -> Any:
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401

    reader = Reader("mine", "Mine", (), lambda path, head: head == b"mine", read)
    monkeypatch.setattr(finding, "readers", lambda: {"mine": reader})
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(MissingDependencyError, match="pip install no_such_module"):
        usidx.open(tmp_path / "a")


def test_what_core_formats_need_is_installed_with_usidx() -> None:
    """xarray reads netCDF-4 by h5netcdf, which nothing else brings along."""
    text = (pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text()
    needed = tomllib.loads(text)["project"]["dependencies"]
    assert any(each.startswith("h5netcdf") for each in needed)


def test_every_reader_is_checked() -> None:
    """On a file of its own; and one that is lazy on a file that tells whether it is."""
    ours = [each for each in readers().values() if each.read.__module__.startswith("usidx.")]
    assert not {each.name for each in ours} - set(SAMPLES) - set(MADE)
    assert not {each.name for each in ours if each.is_lazy} - set(MADE)


def test_files_that_are_made_tell_whether_readers_are_lazy(tmp_path: pathlib.Path) -> None:
    for name, make in MADE.items():
        if readers()[name.partition(",")[0]].is_lazy:
            (tmp_path / name).mkdir()
            made = make(tmp_path / name, LARGE_FOR.get(name, LARGE))
            assert made.values.nbytes >= TELLING, name
