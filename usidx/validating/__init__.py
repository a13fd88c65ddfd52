"""`validate`: everything in a store that is not as USID asks, found without trusting the store."""

from __future__ import annotations

import os
from collections.abc import Sequence

from usidx.errors import OptionError
from usidx.stores.remote.url import is_url
from usidx.validating.contained import check_contained, check_here
from usidx.validating.report import Report

__all__ = ["Report", "validate"]

_SECONDS = 60.0
_MEMORY = 2 * 2**30


def validate(
    path: str | os.PathLike[str],
    *,
    values: bool = False,
    limit: float | None = _SECONDS,
    memory: int = _MEMORY,
    allow_external: Sequence[str | os.PathLike[str]] = (),
) -> Report:
    """Everything in a store that is not as USID asks, each with its place and how to mend it.

    Damaged bytes can crash HDF5, or keep it busy forever. So the store is looked at in a process
    of its own, and a crash or a hang of that is one more thing that was found.

    Parameters
    ----------
    path : an h5USID file, a USID-Zarr store, or a netCDF file of Mains
    values : whether to read every value, too: that proves checksums, and takes as long as reading
    limit : seconds that it may take; None to look at it in this process, without any protection
    memory : bytes that it may take
    allow_external : folders that the store may reach into

    Raises
    ------
    StoreNotFoundError, StoreAccessError, StoreLockedError : where there is nothing to be looked at
    OptionError : for limits that are not positive

    Examples
    --------
    >>> import tempfile, usidx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = usidx.testing.make_main().usid.to_h5usid(f"{folder}/scan.h5")
    ...     usidx.validate(path).ok
    True
    """
    if (limit is not None and not limit > 0) or not memory > 0:
        raise OptionError(
            f"limit is {limit!r} s and memory {memory!r} bytes; both must be more than 0"
        )
    if is_url(path):
        raise OptionError(f"{str(path)!r} is a URL; download what is there, and check the copy")
    where = os.path.abspath(os.path.expanduser(os.fspath(path)))
    folders = tuple(os.path.abspath(os.path.expanduser(os.fspath(each))) for each in allow_external)
    if limit is None:
        return Report(where, check_here(where, folders, values=values))
    return Report(where, check_contained(where, folders, values=values, limit=limit, memory=memory))
