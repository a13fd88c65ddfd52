"""Add Mains to an h5USID file that is there: all of them, or nothing.

Values go behind the end of the file as the file itself has it, where nothing refers to them. A
transaction then changes what is before that end, some kilobytes of it, in one step. A process that
dies before leaves the file as it was, with a tail of no meaning that HDF5 does not see and that the
next transaction cuts off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from usidx.stores.hdf5.create import Draft
from usidx.stores.hdf5.transaction import overlaid


@contextlib.contextmanager
def appending(path: str, *, timeout: float = 30.0) -> Iterator[Draft]:
    """A Draft that adds to the file at `path`; what was added is there when the block ends.

    Others can read the file meanwhile; to be changed, it has to be closed by all of them for a
    moment at the beginning and at the end.

    Parameters
    ----------
    path : of an HDF5 file
    timeout : seconds to wait for others that write it, or have it open in HDF5

    Raises
    ------
    StoreNotFoundError, ReadOnlyStoreError, StoreLockedError, NoSpaceError, ... : as `transaction`
    """
    with overlaid(path, timeout=timeout, what="adding Mains", shared=True) as (file, overlay):
        made = Draft(path, file, overlay, adds=True)
        yield made
        made.finish()
