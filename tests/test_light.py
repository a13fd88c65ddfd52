"""What `import usidx` costs: nothing heavy before it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "click",
    "dask.array",
    "distributed",
    "fabio",
    "h5py",
    "matplotlib",
    "netCDF4",
    "panel",
    "silx",
    "skimage",
    "tqdm",
    "usidx.readers.formats.hyperspy",
    "usidx.readers.formats.rosettasciio",
    "usidx.stores.hdf5",
    "usidx.stores.zarr",
    "zarr",
)


def loaded_by(code):
    """Names of the modules that are loaded after `code` ran in a fresh interpreter."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def of_xarray():
    return loaded_by("import xarray")


def heavy_in(modules, allowed):
    return {
        name
        for name in modules - allowed
        for heavy in HEAVY
        if name == heavy or name.startswith(heavy + ".")
    }


@pytest.mark.parametrize(
    "code",
    [
        "import usidx",
        "import usidx; usidx.Dimension('X', 'm', 3); usidx.step; usidx.errors; dir(usidx)",
        "import usidx; usidx.open; usidx.list_mains; usidx.from_array",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code, of_xarray):
    assert heavy_in(loaded_by(code), of_xarray) == set()


def test_steps_and_testing_load_no_test_library():
    assert "hypothesis" not in loaded_by("import usidx; usidx.testing.make_main(); usidx.steps")


def test_the_accessor_is_there_at_once():
    loaded_by("import usidx, xarray; xarray.DataArray([1.0]).usid; xarray.DataTree().usid")


def test_step_is_the_function_whatever_was_imported_first():
    for first in ("import usidx.step", "from usidx.step import Step", "import usidx.steps"):
        loaded_by(f"{first}\nimport usidx\nassert callable(usidx.step)")


def test_unknown_names_are_refused_as_python_does():
    import usidx

    with pytest.raises(AttributeError, match="'usidx' has no attribute 'opne'"):
        usidx.opne  # noqa: B018
    assert usidx.__version__
    assert {"open", "open_tree", "Dimension", "step"} <= set(dir(usidx))
