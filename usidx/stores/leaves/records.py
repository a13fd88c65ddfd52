"""What the attributes of a result group say of it, where they are kept as JSON."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.provenance import load_parameters
from usidx.stores.base import ResultRecord, Status
from usidx.stores.remote.url import is_url

_RESULT_NAME = re.compile(r"(.+)-([^-]+)_([0-9]{3,})")
_PROGRAM_ATTRS = frozenset(
    {"machine_id", "timestamp", "platform", "tool", "num_source_dsets", "last_pixel"}
)


def is_result_name(path: str) -> bool:
    """Whether a group is called as one of results, exactly: `<main>-<tool>_000`."""
    return _RESULT_NAME.fullmatch(path.rsplit("/", 1)[-1]) is not None


def record_from(
    store: str,
    group: str,
    attrs: Mapping[str, Any],
    *,
    mains: tuple[str, ...],
    done: int,
    total: int,
    failed: int = 0,
) -> ResultRecord:
    """The record of a result group.

    Parameters
    ----------
    store : path of the store that holds it
    group : its path
    attrs : its attributes
    mains : paths of the Mains in it
    done, total : positions that are marked complete, and all
    failed : of those that are marked, at which the step failed

    Raises
    ------
    NotUsidError : for a group that is not named like one of results
    DamagedStoreError : for parameters that cannot be read
    """
    named = _RESULT_NAME.fullmatch(group.rsplit("/", 1)[-1])
    if named is None:
        raise NotUsidError(f"{group!r} is not named like a result group: <main>-<tool>_000")
    main, tool, digits = named.groups()
    return ResultRecord(
        store=store,
        group=group,
        main=main,
        tool=str(attrs.get("tool", tool)),
        index=int(digits),
        sources=tuple(_found(store, where, path) for where, path in sources_from(attrs)),
        mains=mains,
        status=status_from(attrs),
        done=done,
        total=total,
        parameters=_parameters(attrs, group),
        version=_text(attrs.get("usid_version")),
        fingerprint=_text(attrs.get("usid_fingerprint")),
        attrs=attrs,
        failed=failed,
    )


def status_from(attrs: Mapping[str, Any]) -> Status:
    """The status that the attributes of a result group say."""
    said = attrs.get("usid_status")
    return "complete" if said == "complete" else "partial" if said == "partial" else "unknown"


def shown_status(status: Status, done: int, total: int, failed: int = 0) -> str:
    """The status of a Main as lists show it, of which others in its group may know nothing.

    Examples
    --------
    >>> shown_status("partial", 61, 100), shown_status("complete", 100, 100, 12)
    ('partial (61 %)', 'complete, 12 failed')
    >>> shown_status("partial", 100, 100)
    'complete'
    """
    if status == "partial" and done >= total > 0:
        status = "complete"
    told = status if status != "partial" else f"partial ({100 * done // max(1, total)} %)"
    return f"{told}, {failed} failed" if failed else told


def sources_from(attrs: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(store, path) of each source that the attributes of a result group name, in their order."""
    if isinstance(attrs.get("usid_sources"), list):
        return tuple((str(store), str(path)) for store, path in attrs["usid_sources"])
    if "source_dataset_path" in attrs:
        return ((str(attrs.get("source_file_path", "")), str(attrs["source_dataset_path"])),)
    named = [name for name in attrs if re.fullmatch(r"source_[0-9]{3}", name)]
    return tuple(("", str(attrs[name])) for name in sorted(named))


def _found(root: str, store: str, path: str) -> tuple[str, str]:
    """A source in another store: as told, else beside this one, where both were moved together."""
    if is_url(store):
        return store, path
    beside = os.path.join(os.path.dirname(root), re.split(r"[\\/]", store)[-1])
    moved = bool(store) and not os.path.exists(store) and os.path.exists(beside)
    return (beside if moved else store), path


def _parameters(attrs: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    text = attrs.get("usid_parameters")
    if text is None:
        own = (name for name in attrs if name in _PROGRAM_ATTRS or name.startswith("source_"))
        return {name: attrs[name] for name in attrs if name not in set(own)}
    try:
        return load_parameters(str(text))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStoreError(
            f"the parameters of {group!r} cannot be read ({error}); restore the store from a copy"
        ) from error


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
