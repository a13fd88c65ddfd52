"""What `pip install usidx` brings along is permissive; copyleft is only in extras."""

from __future__ import annotations

import pathlib
import re
import tomllib
from importlib import metadata

PYPROJECT = pathlib.Path(__file__).resolve().parents[1] / "pyproject.toml"
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|GNU (Affero |Lesser )?General Public)", re.IGNORECASE)


def name_of(requirement: str) -> str:
    """The distribution that a requirement names, in the spelling of indices."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def is_asked_for(requirement: str) -> bool:
    """Whether a requirement is one of the core of a distribution: not of an extra."""
    return "extra ==" not in requirement.replace("extra==", "extra ==")


def licence(distribution: metadata.Distribution) -> str:
    """Everything that a distribution says of its licence, but for long texts."""
    told = distribution.metadata
    said = [told.get("License-Expression") or "", (told.get("License") or "")[:200]]
    said += [each for each in told.get_all("Classifier") or [] if each.startswith("License")]
    return "; ".join(said)


def core() -> dict[str, metadata.Distribution]:
    """Every distribution that usidx needs without an extra, whatever needs it."""
    dependencies = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    waiting, found = [name_of(each) for each in dependencies], {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of another system or version of Python
            continue
        waiting += [name_of(each) for each in found[name].requires or [] if is_asked_for(each)]
    return found


def test_nothing_in_the_core_is_copyleft() -> None:
    found = core()
    assert {"numpy", "dask", "xarray", "h5py", "zarr"} <= set(found)
    assert not {name for name, each in found.items() if COPYLEFT.search(licence(each))}


def test_the_search_finds_what_is_copyleft() -> None:
    assert COPYLEFT.search("License :: OSI Approved :: GNU General Public License v3 (GPLv3)")
    assert COPYLEFT.search("LGPL-3.0-or-later")
    assert not COPYLEFT.search("BSD-3-Clause; MIT; Apache-2.0; MPL-2.0")


def test_extras_are_not_in_the_core() -> None:
    assert not {"rosettasciio", "fabio", "hyperspy", "igor2", "silx"} & set(core())
