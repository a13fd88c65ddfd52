"""Every door of usidx, walked through with a file of each reader."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from tests.readers.made import MADE, Made
from usidx.cli import main as cli
from usidx.errors import UsidError
from usidx.readers import readers
from usidx.step import step

SHAPE = (6, 8, 12)
NAMES = [name for name in MADE if name != "pyme_metadata"]  # of which nothing is an array
CALLS: list[int] = []


@step("Doubled", version="1")
def doubled(main: xr.DataArray) -> xr.DataArray:
    """Twice the values, counting blocks."""

    def twice(block: Any) -> Any:
        CALLS.append(block.size)
        return np.asarray(block, np.float64) * 2

    found = xr.apply_ufunc(twice, main, dask="parallelized", output_dtypes=[np.float64])
    return found.assign_attrs(main.attrs)


@pytest.fixture(params=NAMES)
def made(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Made:
    name: str = request.param
    reader = readers()[name.partition(",")[0]]
    if reader.missing:
        pytest.skip(f"{name} needs {', '.join(reader.missing)}")
    (tmp_path / "in").mkdir()
    found = MADE[name](tmp_path / "in", SHAPE)
    options = {k: v for k, v in found.options.items() if k not in ("cut_short", "wrong")}
    if found.beside and found.path.suffix == ".h5":  # with links to the other files
        options["allow_external"] = [str(tmp_path / "in")]
    return Made(found.path, found.values, found.main, found.beside, options)


def opened(made: Made) -> Any:
    """The Main; of a compound one, the first field."""
    found = usidx.open(made.path, made.main, **made.options)
    return found if isinstance(found, xr.DataArray) else found[next(iter(found.data_vars))]


def values(made: Made) -> Any:
    names = made.values.dtype.names
    return made.values[names[0]] if names else made.values


def run(*arguments: Any) -> str:
    """What a command says that goes well."""
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exit_code == 0, (arguments, result.output)
    return result.output


def flags(made: Made) -> list[str]:
    """The options of a file on the command line."""
    reader = made.options.get("reader")
    found = ["--reader", reader] if reader else []
    for name, value in made.options.items():
        if name == "allow_external":
            found += ["--allow-external", value[0]]
        elif name != "reader":
            found += ["--option", f"{name}={json.dumps(value)}"]
    return found


def test_doors_to_look_through(made: Made) -> None:
    """list_mains, open_tree, info and tree say the same, and what is so."""
    entries = usidx.list_mains(made.path, **made.options)
    tree = usidx.open_tree(made.path, **made.options)
    assert list(tree.usid.mains) == list(entries)
    wanted = [each for each in entries if made.main is None or each.path.endswith(made.main)]
    entry, found = wanted[0], opened(made)
    assert (entry.dims, entry.shape) == (found.dims, found.shape)
    assert entry.units == (found.attrs["units"] if entry.dtype.names is None else "")
    node = tree[entry.path].to_dataset()
    variable = node[next(iter(node.data_vars))]
    np.testing.assert_array_equal(variable, values(made))
    name = entry.path.rpartition("/")[2]
    for command in ("info", "tree"):
        said = run(command, made.path, *flags(made))
        assert name in said
        machine = json.loads(run(command, made.path, "--json", *flags(made)))
        assert entry.path in json.dumps(machine, ensure_ascii=False)
    one = run("info", made.path, entry.path, *flags(made))
    assert str(found.dims[0]) in one
    assert repr(found.usid)
    assert found.usid._repr_html_()


def test_doors_to_other_files(made: Made, tmp_path: pathlib.Path) -> None:
    """What is converted has the same values, labels and attributes."""
    entries = usidx.list_mains(made.path, **made.options)
    for name in ("out.h5", "out.zarr"):
        run("convert", made.path, tmp_path / name, *flags(made))
        written = usidx.list_mains(tmp_path / name)
        assert {each.path for each in written} == {each.path for each in entries}
        again = opened(Made(tmp_path / name, made.values, made.main))
        np.testing.assert_array_equal(again, values(made))
        found = opened(made)
        assert again.dims == found.dims
        assert again.dtype == found.dtype
        for dim in found.dims:
            np.testing.assert_array_equal(again[dim], found[dim])
            assert again[dim].attrs["units"] == found[dim].attrs["units"]
        assert again.attrs["quantity"] == found.attrs["quantity"]
        assert again.usid.position_dims == found.usid.position_dims


def test_doors_to_results(made: Made, tmp_path: pathlib.Path) -> None:
    """Results in a store of USID know the file that they are of, and are not computed again."""
    main = opened(made)
    process = main.usid.process(doubled)
    CALLS.clear()
    result = process.run(into=tmp_path / "results.zarr", progress=False)
    assert sum(CALLS) >= made.values.size
    done = result.open()
    np.testing.assert_array_equal(done, values(made) * np.float64(2))
    source = result.source
    assert source is not None
    assert source.store == str(made.path)
    CALLS.clear()
    again = opened(made).usid.process(doubled)
    assert again.run(into=tmp_path / "results.zarr", progress=False).path == result.path
    assert not CALLS
    # the file itself has none, and says nothing else
    assert not main.usid.results()
    assert str(made.path) in repr(done.usid.history)
    with pytest.raises(UsidError, match="into="):
        process.run(progress=False)
    if made.values.dtype.names is None:
        chosen = usidx.list_mains(made.path, **made.options)[0].path
        step = ["mean", "--set", f"over={json.dumps([main.dims[-1]])}"]
        into = ["--into", str(tmp_path / "means.zarr")]
        assert "mean" in run("run", made.path, made.main or chosen, *step, *into, *flags(made))


def test_doors_of_stacks(made: Made, tmp_path: pathlib.Path) -> None:
    shutil.copytree(made.path.parent, tmp_path / "again")
    other = Made(tmp_path / "again" / made.path.name, made.values, made.main, (), made.options)
    if "allow_external" in made.options:
        other.options["allow_external"] = [str(tmp_path / each) for each in ("in", "again")]
    both = usidx.stack([opened(made), opened(other)], dim="run")
    assert both.shape == (2, *values(made).shape)
    np.testing.assert_array_equal(both, np.stack([values(made)] * 2))
    written = usidx.open(both.usid.to_zarr(tmp_path / "both.zarr"))
    np.testing.assert_array_equal(written, both)
