"""Files of instruments against what was measured of them."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

import usidx
from usidx.errors import MissingDependencyError, NotUsidError
from usidx.testing import check_reader


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
    beside = [path.with_suffix(".raw")] if path.suffix == ".rpl" else []
    check_reader(path, values, beside=beside)


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
