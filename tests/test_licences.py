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
    return brought_by(tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"])


def brought_by(requirements: list[str]) -> dict[str, metadata.Distribution]:
    """Every distribution that is installed here and that requirements bring along."""
    waiting, found = [name_of(each) for each in requirements], {}
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


# Extras that people install with their eyes open, and what is copyleft in them.
COPYLEFT_EXTRAS = {"rosettasciio": {"rosettasciio"}, "libertem": {"ncempy"}}
# They bring other extras of usidx along, or are for those who work on it.
NOT_FOR_USERS = {"test", "docs", "dev"}


def test_copyleft_extras_are_known_and_say_so() -> None:
    text = PYPROJECT.read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    known, found = COPYLEFT_EXTRAS, {}
    for name in sorted(set(extras) - NOT_FOR_USERS):
        brought = brought_by(extras[name])
        copyleft = {each for each, told in brought.items() if COPYLEFT.search(licence(told))}
        if copyleft:
            found[name] = copyleft
    assert {name: each for name, each in found.items() if not each <= known.get(name, set())} == {}
    for name in known:
        above = text.partition(f"\n{name} = ")[0].rsplit("\n", 1)[-1]
        assert COPYLEFT.search(above), f"the extra {name!r} does not say that it is copyleft"
