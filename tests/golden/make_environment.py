"""Make the environment of pyUSID 0.0.12 that our files are checked against.

    python3 tests/golden/make_environment.py [FOLDER]
    USIDX_PYUSID_PYTHON=FOLDER/bin/python python -m pytest -m pyusid

These versions pass pyUSID's own test suite, on Python 3.11 only. A folder that holds them already
is left as it is. Where no folder is given, it is one that the tests find by themselves. Uses the
standard library alone.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

PINNED = (
    "numpy==1.26.4",
    "h5py==3.11.0",
    "sidpy==0.12.3",
    "pyUSID==0.0.12",
    "setuptools<81",
    "dask==2026.8.0",
    "joblib==1.6.0",
    "matplotlib==3.11.2",
)


CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
USUAL = CACHE / "usidx" / "pyusid-0.0.12"


def python_311() -> str:
    """Path of a Python 3.11, this one where it is."""
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    found = shutil.which("python3.11")
    if found is None:
        raise SystemExit("pyUSID 0.0.12 needs Python 3.11, and there is no python3.11 on the PATH")
    return found


def is_made(folder: pathlib.Path) -> bool:
    """Whether the folder holds the environment."""
    complete = folder / "pinned.txt"
    return complete.is_file() and complete.read_text().split() == list(PINNED)


def make(folder: pathlib.Path) -> pathlib.Path:
    """Path of the interpreter of the environment in `folder`, made where it is not there yet."""
    python = folder / "bin" / "python"
    if not is_made(folder):
        subprocess.run([python_311(), "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PINNED], check=True)
        subprocess.run([str(python), "-c", "import pyUSID"], check=True)
        (folder / "pinned.txt").write_text("\n".join(PINNED) + "\n")
    return python


if __name__ == "__main__":
    if len(sys.argv) > 2:
        raise SystemExit(__doc__)
    print(make(pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else USUAL))
