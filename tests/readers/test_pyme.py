"""PYME's files, as PYME itself wrote them."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import pickle
from typing import Any

import h5py
import numpy as np
import pytest

import usidx
from usidx.errors import DamagedStoreError, NotUsidError
from usidx.testing import check_reader


def told(samples: pathlib.Path, name: str) -> Any:
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    return next(row for row in rows if row["path"] == f"pyme/{name}")


@pytest.mark.parametrize(
    "name",
    ["series_A.h5", "float32.h5", "saved.h5"]
    + [f"frame_{kind}.pzf" for kind in ("raw", "huff", "huff_quant", "F_order")],
)
def test_samples(samples: pathlib.Path, name: str) -> None:
    facts, path = told(samples, name), samples / "peers" / "pyme" / name
    opened = usidx.open(path)
    values = np.ascontiguousarray(opened.values)
    assert (list(values.shape), str(values.dtype)) == (facts["shape"], facts["dtype"])
    assert hashlib.sha256(values.tobytes()).hexdigest() == facts["sha256"]
    check_reader(path, values)


def test_metadata_events_and_pixels(samples: pathlib.Path) -> None:
    facts = told(samples, "series_A.h5")
    opened = usidx.open(samples / "peers" / "pyme" / "series_A.h5")
    for name, value in facts["meta"].items():
        assert opened.attrs[name] == value
    events = json.loads(opened.attrs["events"])
    assert len(events) == facts["events"]
    with h5py.File(samples / "peers" / "pyme" / "series_A.h5") as file:
        assert [each["time"] for each in events] == file["Events"]["Time"].tolist()
    np.testing.assert_allclose(opened.x, 0.07 * np.arange(32))
    assert opened.x.attrs["units"] == "um"
    assert opened.usid.position_dims == ("time",)


def test_fits_are_a_compound_main(samples: pathlib.Path) -> None:
    facts, path = told(samples, "results.h5r"), samples / "peers" / "pyme" / "results.h5r"
    opened = usidx.open(path)
    x0 = np.ascontiguousarray(opened["fitResults_x0"].values)
    assert hashlib.sha256(x0.tobytes()).hexdigest() == facts["sha256"]
    with h5py.File(path) as file:
        table = file["FitResults"][...]
    np.testing.assert_array_equal(opened["tIndex"], table["tIndex"])
    np.testing.assert_array_equal(opened["slicesUsed_y_stop"], table["slicesUsed"]["y"]["stop"])


def test_packed_frames_in_hdf5(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = samples / "peers" / "pyme"
    packed = [(folder / f"frame_{kind}.pzf").read_bytes() for kind in ("raw", "huff", "raw")]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("MetaData/voxelsize").attrs["x"] = 0.1
        data = file.create_dataset("PZFImageData", (3,), h5py.vlen_dtype(np.uint8))
        for number, each in enumerate(packed):
            data[number] = np.frombuffer(each, np.uint8)
    frame = usidx.open(folder / "frame_raw.pzf").values
    check_reader(tmp_path / "a.h5", np.stack([frame] * 3))


def test_point_spreads(samples: pathlib.Path) -> None:
    path = (
        samples / "instruments" / "python-microscopy__python-microscopy"
        / "PYME__localization__Test__astig_theory.psf"
    )  # fmt: skip
    opened = usidx.open(path)
    values = opened.values
    assert (values.dtype, values.ndim) == (np.float32, 3)
    assert np.isfinite(values).all()
    assert float(opened.x[1] - opened.x[0]) > 0
    raw = path.read_bytes()
    assert values.tobytes() in raw or values.tobytes(order="F") in raw


class Evil:
    """What a pickle that somebody sent might hold."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/usidx-was-run",)


def test_nothing_in_a_pickle_is_run(tmp_path: pathlib.Path) -> None:
    for content in (Evil(), (np.eye(3), Evil()), eval):
        (tmp_path / "a.psf").write_bytes(pickle.dumps(content))
        with pytest.raises(NotUsidError, match="ever run"):
            usidx.open(tmp_path / "a.psf")
    assert not os.path.exists("/tmp/usidx-was-run")
    (tmp_path / "b.psf").write_bytes(pickle.dumps((np.eye(3), None))[:-20])
    with pytest.raises(DamagedStoreError):
        usidx.open(tmp_path / "b.psf")


def test_broken_codes(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    whole = (samples / "peers" / "pyme" / "frame_huff.pzf").read_bytes()
    for broken in (whole[:300], whole[:64] + bytes(900), whole[:64]):
        (tmp_path / "a.pzf").write_bytes(broken)
        with pytest.raises(DamagedStoreError):
            usidx.open(tmp_path / "a.pzf").compute()
