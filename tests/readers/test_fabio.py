"""Files of detectors through FabIO: against the manifest of real ones, and what FabIO writes."""

from __future__ import annotations

import gzip
import hashlib
import json
import pathlib

import numpy as np
import pytest

import usidx
from usidx.errors import DamagedStoreError, MissingDependencyError
from usidx.readers import readers
from usidx.testing import check_reader

fabio = pytest.importorskip("fabio")


@pytest.mark.parametrize("name", ["img.cbf", "img.esperanto", "mask.msk"])
def test_samples(samples: pathlib.Path, name: str) -> None:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    row = next(row for row in rows if row["path"] == f"silx_fabio/{name}")
    path = samples / "peers" / "silx_fabio" / name
    opened = usidx.open(path)
    assert opened.usid.spectroscopic_dims == ("v", "u")
    assert list(opened.shape) == row["shape"]
    digest = hashlib.sha256(np.ascontiguousarray(opened.values).tobytes()).hexdigest()
    assert digest == row["sha256"]
    check_reader(path, opened.values)


def test_headers_of_pilatus(tmp_path: pathlib.Path) -> None:
    text = "\r\n# Detector: PILATUS\r\n# Pixel_size 172e-6 m x 86e-6 m\r\n# Exposure_time 0.5 s\r\n"
    header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": text}
    values = np.arange(30, dtype="i4").reshape(5, 6)
    path = tmp_path / "a.cbf"
    fabio.cbfimage.CbfImage(data=values, header=header).write(str(path))
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, values)
    np.testing.assert_allclose(opened.u, np.arange(6) * 172e-6)
    np.testing.assert_allclose(opened.v, np.arange(5) * 86e-6)
    assert opened.attrs["Exposure_time"] == "0.5 s"
    (tmp_path / "b.cbf.gz").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(usidx.open(tmp_path / "b.cbf.gz"), values)
    values = bytearray(path.read_bytes())
    values[values.find(b"\x0c\x1a\x04\xd5") + 8] ^= 1
    path.write_bytes(values)
    with pytest.raises(DamagedStoreError, match="checksum"):
        usidx.open(path).compute()


def test_edf_when_asked(samples: pathlib.Path) -> None:
    path = samples / "peers" / "silx_fabio" / "multiframe.edf"
    check_reader(path, usidx.open(path).values, reader="fabio", cut_short=False)


def test_where_it_is_not_installed(samples: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = readers()["fabio"]
    monkeypatch.setattr(type(reader), "missing", ("fabio",))
    with pytest.raises(MissingDependencyError, match=r'pip install "usidx\[fabio\]"'):
        usidx.open(samples / "peers" / "silx_fabio" / "img.cbf")


def test_a_series_of_cbf(tmp_path: pathlib.Path) -> None:
    values = np.arange(3 * 5 * 6, dtype="i4").reshape(3, 5, 6)
    for number in range(3):
        fabio.cbfimage.CbfImage(data=values[number]).write(str(tmp_path / f"a_{number}.cbf"))
    stack = usidx.stack(tmp_path)
    np.testing.assert_array_equal(stack, values)
