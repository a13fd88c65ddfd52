"""Which files of a folder are frames, in natural order, and which are something else."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.errors import OptionError, StoreAccessError, StoreNotFoundError
from usidx.model.dimension import Array
from usidx.model.names import natural_key
from usidx.stacking.readers import ENDINGS, ending_of, is_known, is_readable

Path = str | os.PathLike[str]
_GLOB = re.compile(r"[*?\[]")
# Of several kinds of images in a folder, the one that nearly all are of is the frames.
_NEARLY_ALL = 0.8
HIDDEN = "hidden"
EMPTY = "empty (0 bytes)"
OTHER = "no image that usidx reads"


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a stack, and what was left out.

    Parameters
    ----------
    folder : that all paths start from
    names : of the files, relative to the folder; in natural order, or as they were given
    stats : array of int64, shape (files, 2): size in bytes and time of the last change in ns
    strangers : what was found beside the frames: names by the reason why they are none
    in_order : whether the order was given, so that it counts and not what the names say
    """

    folder: str
    names: tuple[str, ...]
    stats: Array
    strangers: Mapping[str, tuple[str, ...]]
    in_order: bool = False

    def path(self, number: int) -> str:
        """The whole path of a file."""
        return os.path.join(self.folder, self.names[number])

    def only(self, keep: Sequence[int], reason: str) -> Listing:
        """The listing of some of the files; the others are strangers."""
        kept = set(keep)
        left = tuple(name for number, name in enumerate(self.names) if number not in kept)
        strangers = {**self.strangers, reason: left} if left else dict(self.strangers)
        names = tuple(self.names[number] for number in keep)
        return Listing(self.folder, names, self.stats[list(keep)], strangers, self.in_order)


def listed(paths: Path | Iterable[Path]) -> Listing:
    """The Listing of a folder, of a glob pattern, or of paths in the order in which they count.

    A folder is read once, and no file of it is opened.

    Raises
    ------
    StoreNotFoundError : where there is no such folder or file, or none that is an image
    OptionError : for several kinds of images in a folder
    """
    if not isinstance(paths, (str, os.PathLike)):
        return _given(_texts(paths))
    path = os.path.expanduser(os.fspath(paths))
    if os.path.isdir(path):
        names, stats, strangers = _scanned(os.path.abspath(path), None)
        if not names:  # no format of images, but perhaps one of measurements
            names, stats, strangers = _scanned(os.path.abspath(path), None, is_readable)
        return _of_one_kind(path, names, stats, strangers)
    if os.path.isfile(path):
        return _given([path])
    if not _GLOB.search(path):
        raise StoreNotFoundError(
            f"there is no folder {path!r} to stack; give a folder, a pattern such as 'map/*.tif', "
            "or a list of paths"
        )
    return _globbed(path)


def _globbed(pattern: str) -> Listing:
    folder, last = os.path.split(os.path.abspath(pattern))
    if not _GLOB.search(folder):
        if not os.path.isdir(folder):
            raise StoreNotFoundError(f"there is no folder {folder!r}, where {pattern!r} would look")
        names, stats, strangers = _scanned(folder, last)
        if not names:
            raise StoreNotFoundError(_nothing(pattern, strangers))
        return _sorted(folder, names, stats, strangers)
    found = [each for each in glob.iglob(pattern, recursive=True) if os.path.isfile(each)]
    if not found:
        raise StoreNotFoundError(f"no file fits {pattern!r}")
    root = os.path.commonpath([os.path.dirname(os.path.abspath(each)) for each in found])
    below: list[str] = []
    counted: list[tuple[int, int]] = []
    unused: list[str] = []
    for each in found:
        size, changed = _stat(each)
        (below if size else unused).append(os.path.relpath(each, root))
        if size:
            counted.append((size, changed))
    return _sorted(root, below, counted, {EMPTY: unused} if unused else {})


def _texts(paths: Any) -> list[str]:
    """Paths as text.

    Raises
    ------
    OptionError : where something else is among them
    """
    given = list(paths) if isinstance(paths, Iterable) else [paths]
    for number, each in enumerate(given):
        if not isinstance(each, (str, os.PathLike)):
            raise OptionError(
                f"number {number} to stack is a {type(each).__name__}, not a path; frames are "
                "files. To stack Mains, give dim='time'; usidx.from_array makes Mains of arrays"
            )
    return [os.fsdecode(each) for each in given]


def _given(paths: Sequence[str]) -> Listing:
    if not paths:
        raise OptionError("the list of paths is empty, so there is nothing to stack")
    full = [os.path.abspath(os.path.expanduser(each)) for each in paths]
    twice = [path for path, count in Counter(full).items() if count > 1]
    if twice:
        raise OptionError(f"{twice[0]!r} is given more than once")
    root = os.path.commonpath([os.path.dirname(each) for each in full])
    stats = [_stat(each) for each in full]
    for path, (size, _) in zip(full, stats):
        if not size:
            raise OptionError(f"{path!r} is empty; leave it out of the list")
    names = tuple(os.path.relpath(each, root) for each in full)
    return Listing(root, names, _table(stats), {}, in_order=len(full) > 1)


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"there is no file {path!r}") from error
    return found.st_size, found.st_mtime_ns


def _scanned(
    folder: str, wanted: str | None, known: Callable[[str], bool] = is_known
) -> tuple[list[str], list[tuple[int, int]], dict[str, list[str]]]:
    """(names, stats, strangers) of a folder: the files that fit `wanted`, or are frames by name."""
    import fnmatch

    fits = None if wanted is None else re.compile(fnmatch.translate(wanted)).match
    names: list[str] = []
    stats: list[tuple[int, int]] = []
    strangers: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if fits is not None:
                    if not fits(name) or (name.startswith(".") and str(wanted)[0] != "."):
                        continue
                elif name.startswith("."):
                    strangers.setdefault(HIDDEN, []).append(name)
                    continue
                if not entry.is_file():
                    continue
                if fits is None and not known(name):
                    strangers.setdefault(OTHER, []).append(name)
                    continue
                found = entry.stat()
                if not found.st_size:
                    strangers.setdefault(EMPTY, []).append(name)
                    continue
                names.append(name)
                stats.append((found.st_size, found.st_mtime_ns))
    except PermissionError as error:
        raise StoreAccessError(f"the folder {folder!r} may not be read ({error})") from error
    return names, stats, strangers


def _of_one_kind(
    path: str,
    names: list[str],
    stats: list[tuple[int, int]],
    strangers: dict[str, list[str]],
) -> Listing:
    """The images of a folder that are of the kind that nearly all are of."""
    if not names:
        raise StoreNotFoundError(_nothing(path, strangers))
    kinds = [ending_of(name) for name in names]
    counts = Counter(kinds).most_common()
    most, count = counts[0]
    if len(counts) > 1 and count < _NEARLY_ALL * len(names):
        found = ", ".join(f"{each} {ending!r}" for ending, each in counts)
        raise OptionError(
            f"{path!r} holds images of several kinds ({found}); say which are the frames with a "
            f"pattern, such as {os.path.join(path, '*' + most)!r}"
        )
    for name, kind in zip(names, kinds):
        if kind != most:
            strangers.setdefault(f"another kind than the {most!r} of most", []).append(name)
    keep = [number for number, kind in enumerate(kinds) if kind == most]
    names, stats = [names[n] for n in keep], [stats[n] for n in keep]
    return _sorted(os.path.abspath(path), names, stats, strangers)


def _sorted(
    folder: str,
    names: list[str],
    stats: list[tuple[int, int]],
    strangers: Mapping[str, list[str]],
) -> Listing:
    order = sorted(range(len(names)), key=[natural_key(name) for name in names].__getitem__)
    left = {why: tuple(sorted(those, key=natural_key)) for why, those in strangers.items()}
    return Listing(folder, tuple(names[n] for n in order), _table(stats)[order], left)


def _table(stats: Sequence[tuple[int, int]]) -> Array:
    return np.array(stats, dtype=np.int64).reshape(-1, 2)


def _nothing(path: str, strangers: Mapping[str, Sequence[str]]) -> str:
    left = [f"{len(names)} {why} ({names[0]!r})" for why, names in strangers.items() if names]
    found = f"; it has {', '.join(left)}" if left else ""
    return (
        f"no file of {path!r} is an image to stack{found}; usidx reads {', '.join(ENDINGS)}, "
        "and what `usidx readers` lists"
    )
