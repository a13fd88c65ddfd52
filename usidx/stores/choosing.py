"""Which Main of a store people mean by a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from usidx.errors import (
    AmbiguousMainError,
    MainNotFoundError,
    NotUsidError,
    UsidError,
    did_you_mean,
)
from usidx.stores.base import MainEntry, Store, StoredMain

_MOST_LISTED = 12


def main_called(store: Store, name: str | None) -> StoredMain:
    """The Main of a store that `name` means, opened; the raw Main for None, where there is one.

    Only what is called like that is looked at, however many Mains there are.

    Parameters
    ----------
    name : path of the Main, or an ending of it that no other Main has

    Raises
    ------
    MainNotFoundError, AmbiguousMainError, InvalidMainError, NotUsidError
    """
    if name is None:
        found = store.candidates()
        raw = [each.path for each in found if each.kind == "raw"]
        likely = raw if raw else [each.path for each in found]
    else:
        wanted = "/" + str(name).strip("/")
        likely = [each.path for each in store.candidates(wanted)] if wanted != "/" else []
        likely = [wanted] if wanted in likely else likely
        if not likely and wanted != "/":
            likely = _reached_by_link(store, wanted)
    if len(likely) == 1:
        return store.open_main(likely[0])
    # Some of those may be no Mains, and the errors tell what there is.
    entries = store.mains()
    entry = sole_raw(entries, store.path) if name is None else resolve(entries, name, store.path)
    return store.open_main(entry.path)


def _reached_by_link(store: Store, path: str) -> list[str]:
    """`path`, if a link leads there: Mains are listed by one name only."""
    try:
        store.attrs(path)
        store.dataset(path)
    except (UsidError, OSError):
        return []
    return [path]


def resolve(entries: Sequence[MainEntry], name: str, store: str = "the store") -> MainEntry:
    """The Main that `name` means: its path, or an ending of it that no other Main has.

    Raises
    ------
    MainNotFoundError, AmbiguousMainError
    """
    wanted = str(name).strip("/")
    paths = [each.path for each in entries]
    if not paths:
        raise no_mains(store)
    exact = [each for each in entries if each.path.strip("/") == wanted]
    fitting = [each for each in entries if wanted and each.path.endswith("/" + wanted)]
    if exact or len(fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        raise AmbiguousMainError(
            f"{name!r} is the ending of {len(fitting)} Mains in {store!r}; write more of the path:"
            f"{listed([each.path for each in fitting])}"
        )
    inside = [path for path in paths if f"/{wanted}/" in path] if wanted else []
    if inside:
        raise MainNotFoundError(
            f"{name!r} is a group and no Main in {store!r}; the Mains in it are:{listed(inside)}"
        )
    raise MainNotFoundError(
        f"there is no Main {name!r} in {store!r}{did_you_mean(wanted, _endings(paths))}; it has:"
        f"{listed(paths)}"
    )


def sole_raw(entries: Sequence[MainEntry], store: str = "the store") -> MainEntry:
    """The raw Main, where there is one, or of the only Main.

    Raises
    ------
    MainNotFoundError, AmbiguousMainError : with a list of what there is
    """
    if not entries:
        raise no_mains(store)
    found = [each for each in entries if each.kind == "raw"]
    if len(found) == 1 or len(entries) == 1:
        return found[0] if found else entries[0]
    raw = [each.path for each in found]
    if raw:
        raise AmbiguousMainError(
            f"{store!r} has {len(raw)} raw Mains; say which, such as usidx.open(path, "
            f"{raw[0].strip('/')!r}):{listed(raw)}"
        )
    paths = [each.path for each in entries]
    raise MainNotFoundError(
        f"{store!r} has results but no raw Main; say which to open:{listed(paths)}"
    )


def listed(paths: Sequence[str]) -> str:
    """Paths one below the other, the first few of many."""
    shown = "".join(f"\n  {path}" for path in paths[:_MOST_LISTED])
    rest = len(paths) - _MOST_LISTED
    return shown + (f"\n  ... and {rest} more; see usidx.list_mains" if rest > 0 else "")


def _endings(paths: Iterable[str]) -> list[str]:
    parts = [path.strip("/").split("/") for path in paths]
    found = ["/".join(each[-length:]) for each in parts for length in range(1, len(each) + 1)]
    return list(dict.fromkeys(found))


def no_mains(store: str) -> NotUsidError:
    """The error for a store without a Main."""
    return NotUsidError(
        f"{store!r} holds no Main: no 2-D dataset with the four ancillaries that USID asks for"
    )
