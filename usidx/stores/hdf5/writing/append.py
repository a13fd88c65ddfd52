"""Add Mains to an h5USID file that is there: all of them, or nothing.

Values go behind the end of the file as the file itself has it, where nothing refers to them, or
into free space that the file keeps track of, where nothing refers to them either. A transaction
then changes what else is before that end, some kilobytes of it, in one step. A process that dies
before leaves the file as it was, with a tail of no meaning that HDF5 does not see and that the next
transaction cuts off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from usidx.stores.hdf5.transactions.transaction import overlaid
from usidx.stores.hdf5.writing.create import Draft

# What took an hour to compute is not to be lost to a reader that stays for a minute.
_PATIENCE = 600.0


@contextlib.contextmanager
def appending(path: str, *, timeout: float = 30.0, patience: float = _PATIENCE) -> Iterator[Draft]:
    """A Draft that adds to the file at `path`; what was added is there when the block ends.

    Others can read the file meanwhile; to be changed, it has to be closed by all of them for a
    moment at the beginning and at the end.

    Parameters
    ----------
    path : of an HDF5 file
    timeout, patience : seconds to wait, in the beginning for others that write it, or have it open
        in HDF5, and in the end for those that have opened it to read

    Raises
    ------
    StoreNotFoundError, ReadOnlyStoreError, StoreLockedError, NoSpaceError, ... : as `transaction`
    """
    with overlaid(path, timeout=timeout, what="adding Mains", shared=patience) as (file, overlay):
        made = Draft(path, file, overlay, adds=True)
        yield made
        made.finish()
