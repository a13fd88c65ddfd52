"""Text tables against pandas and the hashes of their values."""

from __future__ import annotations

import hashlib
import json
import pathlib

import numpy as np
import pandas as pd
import pytest

import usidx
from usidx.errors import DamagedStoreError, NotUsidError, OptionError, UsidError
from usidx.testing import check_reader


def test_long_form(samples: pathlib.Path) -> None:
    path = samples / "peers" / "csv" / "long_form.csv"
    rows = json.loads((samples / "peers" / "MANIFEST.json").read_text())
    facts = next(row for row in rows if row["path"] == "csv/long_form.csv")
    opened = usidx.open(path)
    assert opened.dims == ("Y", "X", "Frequency")
    assert opened.usid.position_dims == ("Y", "X")
    assert (
        hashlib.sha256(np.ascontiguousarray(opened.values).tobytes()).hexdigest()
        == (facts["sha256"])
    )
    np.testing.assert_allclose(opened.Frequency, np.linspace(300e3, 320e3, 16))
    assert opened.attrs["quantity"] == "Amplitude"
    check_reader(path, opened.values, cut_short=False)


def test_wide_form(samples: pathlib.Path) -> None:
    opened = usidx.open(samples / "peers" / "csv" / "wide_form.csv")
    assert opened.dims == ("Y", "X", "column")
    frame = pd.read_csv(samples / "peers" / "csv" / "wide_form.csv")
    for _, row in frame.iterrows():
        np.testing.assert_array_equal(opened.sel(X=row["X"], Y=row["Y"]), row.to_numpy()[2:])
    np.testing.assert_allclose(opened.column, np.linspace(300e3, 320e3, 16), atol=1e-3)


@pytest.mark.parametrize("name", ["csv/matrix.csv", "nion/image_export.csv"])
def test_bare_matrices(samples: pathlib.Path, name: str) -> None:
    path = samples / "peers" / name
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, pd.read_csv(path, header=None).to_numpy(float))
    assert opened.dims == ("row", "column")


def test_bare_numbers_between_spaces(samples: pathlib.Path) -> None:
    folder = samples / "instruments" / "pycroscopy__SciFiReaders"
    path = folder / "tests__readers__microscopy__spm__stm__test.dat"
    np.testing.assert_array_equal(usidx.open(path), np.loadtxt(path))


def test_incomplete_grids(tmp_path: pathlib.Path) -> None:
    frame = pd.DataFrame(
        [(x, y, b, 100 * x + 10 * y + b) for x in (0, 1) for y in (2, 3) for b in (5, 6)],
        columns=["X [um]", "Y [um]", "Bias (V)", "Current [nA]"],
    )
    frame = frame.drop(index=frame.index[(frame["X [um]"] == 1) & (frame["Y [um]"] == 3)])
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "a.csv", index=False)
    opened = usidx.open(tmp_path / "a.csv")
    assert opened.dims == ("Y", "X", "Bias")
    assert (opened.X.attrs["units"], opened.attrs["units"]) == ("um", "nA")
    assert opened.sel(X=1, Y=3).isnull().all()
    assert float(opened.sel(X=1, Y=2, Bias=6)) == 126
    np.testing.assert_array_equal(opened.measured, [[1, 1], [1, 0]])


def test_columns_as_asked(tmp_path: pathlib.Path) -> None:
    frame = pd.DataFrame(
        {"a": [1, 1, 2, 2], "b": [1, 2, 1, 2], "v": [1.0, 2, 3, 4], "w": [0.0] * 4}
    )
    frame.drop(columns="w").to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    opened = usidx.open(tmp_path / "a.tsv", position=["a"])
    assert (opened.usid.position_dims, opened.usid.spectroscopic_dims) == (("a",), ("b",))
    np.testing.assert_array_equal(opened, [[1, 2], [3, 4]])
    with pytest.raises(OptionError, match="no column 'c'"):
        usidx.open(tmp_path / "a.tsv", position="c")


def test_tables_that_are_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "twice.csv").write_text("X,Y,v\n0,0,1\n0,1,2\n0,0,3\n")
    with pytest.raises(NotUsidError, match="2 rows at"):
        usidx.open(tmp_path / "twice.csv")
    (tmp_path / "text.csv").write_text("X,Y,v\n0,0,1\n0,one,2\n")
    with pytest.raises(NotUsidError, match="row 1 .* has 'one' in column 'Y', where numbers"):
        usidx.open(tmp_path / "text.csv")
    (tmp_path / "prose.txt").write_text("Nothing but words here.\nAnd here.\n")
    with pytest.raises(NotUsidError):
        usidx.open(tmp_path / "prose.txt")


def test_whole_numbers_stay_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"x,n\n0,{2**53 + 1}\n1,{2**53 + 3}\n")
    assert usidx.open(path).values.tolist() == [2**53 + 1, 2**53 + 3]
    path.write_text("x,y,n\n0,0,1\n1,0,2\n1,1,4\n")
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, [[1, 2], [np.nan, 4]])
    assert opened.measured.values.tolist() == [[1, 1], [0, 1]]
    path.write_text(f"x,y,n\n0,0,{2**53 + 1}\n1,0,2\n1,1,4\n")
    with pytest.raises(NotUsidError, match="2\\*\\*53"):
        usidx.open(path)


def test_several_values_at_each_place(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y,I [nA],phase,who\n0,0,1,2.5,a\n1,0,3,4.5,b\n0,1,5,6.5,a\n1,1,7,8.5,b\n")
    np.testing.assert_array_equal(usidx.open(path, "I"), [[1, 3], [5, 7]])
    assert usidx.open(path, "I").attrs["units"] == "nA"
    np.testing.assert_array_equal(usidx.open(path, "phase"), [[2.5, 4.5], [6.5, 8.5]])
    np.testing.assert_array_equal(usidx.open(path, values="phase"), [[2.5, 4.5], [6.5, 8.5]])


@pytest.mark.parametrize("text", ["x,y,n\n0,0,1\n1,1\n", "1,2,3\n4,5\n", "1 2 3\n4 5 6\n7 8\n"])
def test_rows_that_are_cut_short(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DamagedStoreError, match="has 2 cells, and the first has 3"):
        usidx.open(tmp_path / "a.csv")


def test_numbers_that_are_cut_short(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.dat"
    np.savetxt(path, np.random.default_rng(0).normal(size=(9, 3)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(DamagedStoreError, match="fewer digits"):
        usidx.open(path)
    path.write_bytes(whole[:-4])  # no number any more
    with pytest.raises(UsidError, match="cut short"):
        usidx.open(path)
    path.write_bytes(whole[:-1])
    with pytest.warns(UserWarning, match="has no end"):
        np.testing.assert_array_equal(usidx.open(path), np.loadtxt(path))


def test_commas_within_numbers_and_other_endings(tmp_path: pathlib.Path) -> None:
    for name in ("a.csv", "a.tif", "a"):
        (tmp_path / name).write_text("x;y;n\n0;0;1,5\n0;1;2,5\n")
        np.testing.assert_array_equal(usidx.open(tmp_path / name), [[1.5], [2.5]])
    (tmp_path / "b.py").write_text("a = 1\nb = 2\n")
    with pytest.raises(NotUsidError):
        usidx.open(tmp_path / "b.py")
