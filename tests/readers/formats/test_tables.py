"""Text tables against pandas and the hashes of their values."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

import usidx
from usidx.errors import (
    DamagedStoreError,
    MissingDependencyError,
    NotUsidError,
    OptionError,
    UsidError,
)
from usidx.testing import check_reader, make_main


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


LONG = "X [µm],Y [µm],I (nA)\n0,0,1.5\n1,0,2.5\n0,1,3.5\n1,1,4.5\n"


def check_long(path: pathlib.Path) -> None:
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, [[1.5, 2.5], [3.5, 4.5]])
    assert (opened.usid.position_dims, opened.X.attrs["units"]) == (("Y", "X"), "µm")
    assert (opened.attrs["quantity"], opened.usid.units) == ("I", "nA")


@pytest.mark.parametrize("how", ["gz", "bz2", "xz", "zip"])
def test_tables_that_are_compressed(tmp_path: pathlib.Path, how: str) -> None:
    path = tmp_path / f"a.csv.{how}"
    pd.read_csv(io.StringIO(LONG)).to_csv(path, index=False)
    check_long(path)
    check_reader(path, usidx.open(path).values, cut_short=False)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedStoreError):
        usidx.open(path)


@pytest.mark.parametrize(
    "lines",
    [
        LONG.replace("X", '"X').replace("],Y", ']","Y').replace("],I", ']","I (nA)"#')
        .replace("# (nA)", "").replace("1.5", '"1.5"'),
        "sep=;\n" + LONG.replace(",", ";"),
        LONG.replace(",", ";").replace(".", ","),
        LONG.replace("\n", ",\n"),  # a separator at the end of each line
        "# by hand\n#" + LONG,
        "% " + LONG.replace(" [", "[").replace(" (", "(").replace(",", " "),
        "\n\n" + LONG,
        "X,Y,I\nµm,µm,nA\n" + LONG.partition("\n")[2],
        LONG.replace("\n", "\r"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_one_table_in_many_forms(tmp_path: pathlib.Path, lines: str, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(lines.encode(encoding))
    check_long(tmp_path / "a.csv")


def test_heads_of_numpy(tmp_path: pathlib.Path) -> None:
    table = np.array([[0, 0, 1.5], [1, 0, 2.5]])
    np.savetxt(tmp_path / "a.txt", table, header="x y I")
    assert usidx.open(tmp_path / "a.txt").dims == ("y", "x")
    # words that may be anything are no heads
    np.savetxt(tmp_path / "a.txt", table, header="measured by hand")
    assert usidx.open(tmp_path / "a.txt").dims == ("row", "column")


def test_lines_above_the_heads(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Instrument: A\nDate: today\n\n" + LONG)
    with pytest.raises(DamagedStoreError, match="lines above the heads: say how many by skip="):
        usidx.open(path)
    opened = usidx.open(path, reader="table", skip=3)
    np.testing.assert_array_equal(opened, [[1.5, 2.5], [3.5, 4.5]])


def test_spectra_side_by_side(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("wavelength (nm),a,b\n400,1,5\n401,2,6\n402,4,7\n")
    spectrum = usidx.open(path, "b")
    np.testing.assert_array_equal(spectrum, [5, 6, 7])
    np.testing.assert_array_equal(spectrum.wavelength, [400, 401, 402])
    np.testing.assert_array_equal(usidx.open(path, values="a"), [1, 2, 4])
    path.write_text("x,y,400 nm,401.5 nm\n0,0,1,2\n1,0,3,4\n")
    wide = usidx.open(path)
    np.testing.assert_array_equal(wide, [[[1, 2], [3, 4]]])
    np.testing.assert_array_equal(wide.column, [400, 401.5])
    assert wide.column.attrs["units"] == "nm"


def test_texts_and_times(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sample,x,v\nb,0,1\nb,1,2\na,0,3\na,1,4\n")
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, [[1, 2], [3, 4]])
    assert opened.usid.position_dims == ("sample", "x")
    assert opened.sample_labels.values.tolist() == ["b", "a"]
    again = usidx.open(opened.usid.to_h5usid(tmp_path / "a.h5"))
    assert again.sample_labels.values.tolist() == ["b", "a"]
    path.write_text("time,v\n2020-01-01 00:00:02,1\n2020-01-01 00:00:01,2\n")
    opened = usidx.open(path)
    np.testing.assert_array_equal(opened, [2, 1])
    assert opened.time.values[0] == np.datetime64("2020-01-01T00:00:01")
    # once at each place: the time is measured there, too
    path.write_text("x,y,t,v\n0,0,5,1\n1,0,6,2\n")
    np.testing.assert_array_equal(usidx.open(path, "t"), [[5, 6]])
    np.testing.assert_array_equal(usidx.open(path, "v"), [[1, 2]])


def test_places_that_are_nearly_the_same_or_nowhere(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"x,y,v\n0.1,0,1\n{0.1 + 0.2!r},0,2\n0.1,1,3\n0.3,1,4\n")
    np.testing.assert_array_equal(usidx.open(path), [[1, 2], [3, 4]])
    path.write_text("x,y,v\n0,0,1\n,0,2\n")
    with pytest.raises(NotUsidError, match="row 1 .* has nothing in column 'x'"):
        usidx.open(path)
    rows = "".join(f"{n % 7},{n * 3.7},{n * 1.3},{n}\n" for n in range(300))
    path.write_text(f"a,b,c,v\n{rows}")
    with pytest.raises(NotUsidError, match="say which are places by position="):
        usidx.open(path)
    np.testing.assert_array_equal(usidx.open(path, "v", position="b"), np.arange(300))


@pytest.mark.parametrize("cell", ["1.5D-3", "-", "(1+2j)", f"{2**70}", "1 234", "oops"])
def test_cells_that_are_no_numbers(tmp_path: pathlib.Path, cell: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"x,y,v\n0,0,1\n1,0,{cell}\n0,1,3\n1,1,4\n")
    with pytest.raises(NotUsidError, match="row 1 .* where numbers are expected"):
        usidx.open(path)


def test_numbers_with_commas_between_blanks(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.dat").write_text("0,5 1,5\n2,5 3,5\n")
    np.testing.assert_array_equal(usidx.open(tmp_path / "a.dat"), [[0.5, 1.5], [2.5, 3.5]])


def test_tables_of_r(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_text('"","x","v"\n"1",0.5,2\n"2",0.6,3\n')
    (tmp_path / "a.txt").write_text('"x" "v"\n"1" 0.5 2\n"2" 0.6 3\n')
    for name in ("a.csv", "a.txt"):
        opened = usidx.open(tmp_path / name)
        np.testing.assert_array_equal(opened, [2, 3])
        np.testing.assert_array_equal(opened.x, [0.5, 0.6])


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_files_of_columns(tmp_path: pathlib.Path, kind: str) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(io.StringIO(LONG))
    path = tmp_path / f"a.{kind}"
    getattr(frame, f"to_{kind}")(path)
    check_long(path)
    check_reader(path, usidx.open(path).values)
    if kind == "parquet":  # an index is columns
        frame.set_index(["X [µm]", "Y [µm]"]).to_parquet(path)
        check_long(path)


def test_excel_where_its_library_is_missing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(MissingDependencyError, match="needs openpyxl; install it: pip install op"):
        usidx.open(tmp_path / "a.xlsx")


def test_excel(tmp_path: pathlib.Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    assert openpyxl
    pd.read_csv(io.StringIO(LONG)).to_excel(tmp_path / "a.xlsx", index=False)
    check_long(tmp_path / "a.xlsx")


def test_a_frame_goes_out_and_comes_back(tmp_path: pathlib.Path) -> None:
    main = make_main((2, 3, 4))
    main.usid.to_dataframe().to_csv(tmp_path / "a.csv", index=False)
    again = usidx.open(tmp_path / "a.csv")
    for name in main.dims:
        np.testing.assert_allclose(again[name], main[name])
    np.testing.assert_allclose(again.transpose(*main.dims), main)


def test_a_frame_in_memory() -> None:
    frame = pd.DataFrame({"y": [0, 0, 1, 1], "x": [0, 1, 0, 1], "I": np.arange(4.0)})
    with pytest.raises(OptionError, match="becomes a Main by frame.set_index") as refused:
        usidx.open(frame)  # type: ignore[arg-type]
    advice = str(refused.value).partition("becomes a Main by ")[2]
    main = eval(advice, {"frame": frame, "places": ["y", "x"], "column": "I"})
    assert main.usid.position_dims == ("y", "x")
    np.testing.assert_array_equal(main, [[0, 1], [2, 3]])
