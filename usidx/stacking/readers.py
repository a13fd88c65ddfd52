"""Files as frames: what opens a file of one or more images, by what its first bytes say.

A reader is a callable that takes a path and gives `Frames`. `READERS` has them by name; the table
is all that the rest of the package knows of formats.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from usidx.errors import (
    DamagedStoreError,
    MissingDependencyError,
    NotUsidError,
    StoreNotFoundError,
    UsidError,
)
from usidx.readers.frames import Frames, numpy_frames, picture_frames, tiff_frames

Reader = Callable[[str], AbstractContextManager[Frames]]


@contextlib.contextmanager
def opened(path: str, reader: str) -> Iterator[Frames]:
    """The frames of a file, closed in the end.

    Raises
    ------
    StoreNotFoundError : where the file is gone
    NotUsidError : where it is of another kind than the reader is for
    DamagedStoreError : where it cannot be read as what it says it is, naming it
    MissingDependencyError : where a library is missing that its format needs
    """
    try:
        _check_kind(path, reader)
        with READERS[reader](path) as frames:
            yield frames
    except UsidError:
        raise
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"the frame {path!r} is not there any more") from error
    except ImportError as error:
        raise MissingDependencyError(
            f"{path!r} is read with {error.name}; install it with: pip install {error.name}"
        ) from error
    # What libraries raise for damaged files is anything at all.
    except Exception as error:
        if "imagecodecs" in str(error):
            raise MissingDependencyError(
                f"{path!r} is compressed in a way that needs imagecodecs ({error}); install it "
                "with: pip install imagecodecs"
            ) from error
        raise DamagedStoreError(
            f"the frame {path!r} cannot be read ({type(error).__name__}: {error}); it may be "
            "written only in part. Leave it out, or write it again"
        ) from error


def _check_kind(path: str, reader: str) -> None:
    """Refuse a file that another reader is for, which might read it all the same, and differently.

    A file that has no beginning yet is left to the reader, which says so.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    found, wanted = _signed(head), reader if reader in _SIGNATURES.values() else None
    if found == wanted or len(head) < 4 or (found is None and not any(head)):
        return
    what = f"is {_CALLED[found]}" if found else f"starts with {head[:8]!r}"
    expected = f"are {_CALLED[wanted]}" if wanted else "are of another kind"
    raise NotUsidError(
        f"{path!r} {what}, where the frames before it {expected}; stack files of one kind: leave "
        "it out, or give a pattern such as 'map/*.tif'"
    )


def reader_of(path: str) -> str:
    """The name of the reader for a file, by its first bytes.

    Raises
    ------
    NotUsidError : where it is of no kind that is known
    StoreNotFoundError : where there is no file
    """
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"there is no file {path!r}") from error
    if name := _signed(head):
        return name
    starts = head.lstrip()[:1] == b"{" or head.startswith(_PACKED)
    if starts and ending_of(path) == ".edf":
        return "edf"
    if _is_foreign(path):
        return "foreign"
    raise NotUsidError(
        f"{path!r} is no image that usidx stacks (it starts with {head[:8]!r}); it reads "
        f"{', '.join(ENDINGS)}"
    )


def _signed(head: bytes) -> str | None:
    """The name of the reader that the first bytes of a file are for, None where they do not say."""
    return next((name for start, name in _SIGNATURES.items() if head.startswith(start)), None)


def ending_of(name: str) -> str:
    """The ending of a name in small letters, one for all spellings of a format, packed or not."""
    name = name.lower()
    plain = name.removesuffix(".gz").removesuffix(".bz2")
    name = plain if plain.endswith(_PACKABLE) else name
    ending = name[name.rfind(".") :] if "." in name else ""
    return _SPELLINGS.get(ending, ending)


def is_known(name: str) -> bool:
    """Whether a file is a frame by its name."""
    return ending_of(name) in ENDINGS


def is_readable(name: str) -> bool:
    """Whether a reader of usidx is for files of such names, but for notes and tables."""
    from usidx.readers import readers

    ending = ending_of(name)
    return ending not in _NOTES and any(ending in each.extensions for each in readers().values())


def _edf(path: str) -> AbstractContextManager[Frames]:
    from usidx.stacking.edf import edf_frames

    return edf_frames(path)


def _foreign(path: str) -> AbstractContextManager[Frames]:
    from usidx.stacking.foreign import foreign_frames

    return foreign_frames(path)


def _is_foreign(path: str) -> bool:
    """Whether `usidx.open` reads a file, with what is installed or could be."""
    from usidx.readers import store_of

    try:
        store_of(path)
    except NotUsidError:
        return False
    return True


READERS: dict[str, Reader] = {
    "tiff": tiff_frames,
    "picture": picture_frames,
    "npy": numpy_frames,
    "edf": _edf,
    "foreign": _foreign,
}
_SPELLINGS = {".tiff": ".tif", ".jpeg": ".jpg"}
ENDINGS = (
    ".tif", ".png", ".jpg", ".npy", ".edf", ".cbf",
    ".dm3", ".dm4", ".mib", ".mrc", ".ser", ".ndata",
)  # fmt: skip
# What lies beside frames more often than it is one.
_NOTES = (".txt", ".csv", ".tsv", ".dat", ".json", ".md", ".xml", ".toml")
# Formats whose files are often compressed as a whole, and how those begin.
_PACKABLE = (".edf", ".cbf")
_PACKED = (b"\x1f\x8b", b"BZh")
_SIGNATURES = {
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"II+\x00": "tiff",
    b"MM\x00+": "tiff",
    b"\x89PNG": "picture",
    b"\xff\xd8\xff": "picture",
    b"\x93NUMPY": "npy",
}
_CALLED = {"tiff": "TIFF", "picture": "PNG or JPEG", "npy": "NumPy's .npy"}
