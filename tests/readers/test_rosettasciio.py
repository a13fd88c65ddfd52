"""Files of instruments against what was measured of them."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import sys
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.errors import MissingDependencyError, NotUsidError, UsidError
from usidx.testing import check_reader

INSTRUMENTS = pathlib.Path(__file__).resolve().parents[3] / "shared" / "samples" / "instruments"
# Other readers, or what USID cannot hold.
ELSEWHERE = ("hspy/", "tiff/", ".edf", ".tif", "oleg.dat", ".psf", "stm__test.dat", ".zip", "msa/")


def known() -> list[Any]:
    """Files with a hash of the values of one of their signals."""
    path = INSTRUMENTS / "MANIFEST.json"
    if not path.is_file():
        return [pytest.param({}, marks=pytest.mark.skip(f"no samples at {INSTRUMENTS}"))]
    rows = json.loads(path.read_text())
    return [
        pytest.param(row, id=row["path"].split("/", 1)[1])
        for row in rows
        if "sha256_array" in row and not any(part in row["path"] for part in ELSEWHERE)
    ]


@pytest.mark.parametrize("facts", known())
def test_instruments(facts: Any) -> None:
    pytest.importorskip("rsciio", reason="pip install usidx[rosettasciio]")
    path = INSTRUMENTS / facts["path"]
    if not isinstance(facts["dtype"], str) or facts["dtype"].startswith("["):
        facts = {**facts, "sha256_array": None}
    try:
        mains = usidx.list_mains(path, allow_external=[path.parent])
    except UsidError as error:
        if "sparse" in str(error):
            pytest.skip("it needs the library sparse as well")
        raise
    found = {}
    for row in mains:
        opened = usidx.open(path, row.path, allow_external=[path.parent])
        values = np.ascontiguousarray(opened.values)
        for order in ([*range(values.ndim)], [values.ndim - 1, *range(values.ndim - 1)]):
            laid = np.ascontiguousarray(values.transpose(order))
            found[hashlib.sha256(laid.tobytes()).hexdigest()] = row.path
    if facts["sha256_array"] is not None:
        assert facts["sha256_array"] in found, [row.shape for row in mains]


def test_energies_are_spectroscopic(samples: pathlib.Path) -> None:
    pytest.importorskip("rsciio", reason="pip install usidx[rosettasciio]")
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    for name in ("nion/si.dm3", "nion/si.dm4"):
        facts = next(row for row in rows if row["path"] == name)
        opened = usidx.open(samples / "peers" / name)
        assert list(opened.shape) == facts["shape"]
        values = np.ascontiguousarray(opened.values)
        assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
        for dim, axis in zip(opened.dims, facts["axes"], strict=True):
            expected = axis["offset"] + axis["scale"] * np.arange(opened.sizes[dim])
            np.testing.assert_allclose(opened[dim], expected, rtol=1e-6)
            assert opened[dim].attrs["units"] == axis["units"]
        assert opened.usid.spectroscopic_dims == (opened.dims[-1],)


@pytest.mark.parametrize("name", ["libertem/scan.blo", "nion/stack.dm4", "hyperspy/ripple.rpl"])
def test_promises_of_readers(samples: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    pytest.importorskip("rsciio", reason="pip install usidx[rosettasciio]")
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    facts = next(row for row in rows if row["path"] == name)
    path = samples / "peers" / name
    values = usidx.open(path).values
    assert hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() == facts["sha256"]
    check_reader(path, values)


def test_what_is_known_to_be_wrong_is_refused(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("rsciio", reason="pip install usidx[rosettasciio]")
    (tmp_path / "a.prz").write_bytes(b"PK\3\4" + bytes(100))
    made = np.arange(4.0)
    np.savez(tmp_path / "b.npz", data=made, meta_data=made, data_model=made, file_format_version=5)
    (tmp_path / "b.npz").rename(tmp_path / "b")
    for name in ("a.prz", "b"):
        with pytest.raises(NotUsidError, match="wrong values"):
            usidx.open(tmp_path / name)


def test_without_the_library(
    samples: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(samples / "peers" / "nion" / "stack.dm4", tmp_path / "renamed.bin")
    monkeypatch.setitem(sys.modules, "rsciio", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r'pip install "usidx\[rosettasciio\]"'):
        usidx.open(path)
