"""The three exercises of the ESRF course on data formats: flat fields of radiographs."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx


def corrected(raw: xr.DataArray, flat: xr.DataArray, dark: xr.DataArray) -> xr.DataArray:
    raw, flat, dark = (each.astype("float32") for each in (raw, flat, dark))
    return (raw - dark) / (flat - dark)


def by_numpy(raw: Any, flat: Any, dark: Any) -> Any:
    raw, flat, dark = (np.asarray(each).astype("float32") for each in (raw, flat, dark))
    return (raw - dark) / (flat - dark)


@pytest.fixture
def training(samples: pathlib.Path) -> pathlib.Path:
    return samples / "instruments" / "silx-training"


@pytest.fixture
def course(samples: pathlib.Path) -> pathlib.Path:
    return samples / "peers" / "silx_fabio"


def test_one_image(training: pathlib.Path, tmp_path: pathlib.Path) -> None:
    fabio = pytest.importorskip("fabio")
    paths = [training / f"ID16_diatomee__{name}.edf" for name in ("data", "flat", "dark")]
    with np.errstate(divide="ignore", invalid="ignore"):
        result = corrected(*map(usidx.open, paths))
        expected = by_numpy(*(fabio.open(str(path)).data for path in paths))
        saved = result.usid.to_edf(tmp_path / "result.edf")
        whole = result.usid.to_h5usid(tmp_path / "result.h5")
    assert usidx.open(saved).dtype == np.float32
    np.testing.assert_array_equal(usidx.open(saved), expected)
    np.testing.assert_array_equal(fabio.open(saved).data, expected)
    np.testing.assert_array_equal(usidx.open(whole).values.squeeze(), expected)


def test_one_image_of_hdf5(course: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = course / "flatfield_course.h5"
    names = ("data/0100", "flatfield/0000", "dark/0000")
    result = corrected(*(usidx.open(path, name) for name in names))
    expected = np.load(course / "flatfield_course_expected.npz")
    again = usidx.open(result.usid.to_h5usid(tmp_path / "result.h5"))
    np.testing.assert_array_equal(again.values.squeeze(), expected["exercise2"][1])


@pytest.fixture
def raw(course: pathlib.Path) -> xr.DataArray:
    """All radiographs, along the number in the name of each."""
    path = course / "flatfield_course.h5"
    names = [each for each in usidx.list_mains(path).paths if each.startswith("/data/")]
    frames = [usidx.open(path, name).assign_attrs(quantity="Intensity") for name in names]
    numbers = [int(name.rsplit("/", 1)[1]) for name in names]
    return usidx.stack(frames, dim=usidx.Dimension("number", "", numbers))


def test_all_images(course: pathlib.Path, raw: xr.DataArray, tmp_path: pathlib.Path) -> None:
    path = course / "flatfield_course.h5"
    flat, dark = usidx.open(path, "flatfield/0000"), usidx.open(path, "dark/0000")
    again = usidx.open(corrected(raw, flat, dark).usid.to_h5usid(tmp_path / "result.h5"))
    expected = np.load(course / "flatfield_course_expected.npz")
    np.testing.assert_array_equal(again.number, expected["names"].astype(int))
    np.testing.assert_array_equal(again.values.squeeze(), expected["exercise2"])


def test_flats_between_two(course: pathlib.Path, raw: xr.DataArray, tmp_path: pathlib.Path) -> None:
    path = course / "flatfield_course.h5"
    first, last = usidx.open(path, "flatfield/0000"), usidx.open(path, "flatfield/0500")
    first, last = first.astype("float32"), last.astype("float32")
    later = raw.number.drop_attrs() / 500
    flat = first * (1 - later).astype("float32") + last * later.astype("float32")
    result = corrected(raw, flat, usidx.open(path, "dark/0000"))
    again = usidx.open(result.usid.to_h5usid(tmp_path / "result.h5"))
    expected = np.load(course / "flatfield_course_expected.npz")
    np.testing.assert_array_equal(again.values.squeeze(), expected["exercise3"])


def test_a_step_does_so_too(
    course: pathlib.Path, raw: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    path = course / "flatfield_course.h5"
    flats = usidx.stack(
        [usidx.open(path, f"flatfield/0{n}00").assign_attrs(quantity="Intensity") for n in (0, 5)],
        dim=usidx.Dimension("number", "", [0, 500]),
    )
    dark = usidx.open(path, "dark/0000")
    scan = usidx.open(raw.usid.to_h5usid(tmp_path / "raw.h5"))
    process = scan.usid.process(usidx.steps.flat_field, flat=flats, dark=dark, time="number")
    result = process.run(memory="10 MB").open()
    expected = np.load(course / "flatfield_course_expected.npz")
    np.testing.assert_array_equal(result.values.squeeze(), expected["exercise3"])


def test_all_images_of_a_real_file(training: pathlib.Path, tmp_path: pathlib.Path) -> None:
    names = ("ID16B_diatomee", "ID16_diatomee__flat", "ID16_diatomee__dark")
    many, flat, dark = (usidx.open(training / f"{name}.edf") for name in names)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = corrected(many, flat, dark)
        again = usidx.open(result.usid.to_edf(tmp_path / "result.edf"))
        expected = by_numpy(many, flat, dark)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(again.srot, many.srot)
