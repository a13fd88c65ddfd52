"""Everything in a netCDF file of Mains that is not as USID asks."""

from __future__ import annotations

from collections.abc import Iterator

from usidx.errors import NotUsidError, UnsafeStoreError, UsidError
from usidx.model.blocks import block_shape, blocks_of
from usidx.model.form_rules import no_main
from usidx.model.rules import Findings, Violation
from usidx.stores.base import StoredMain
from usidx.stores.leaves.records import is_result_name
from usidx.stores.netcdf import read

_RESTORE = "restore the file from a copy, or export it again"
_VALUES_AT_ONCE = 32 * 2**20


def check(path: str, allow: tuple[str, ...] = (), *, values: bool = False) -> Findings:
    """Everything that is not as USID asks in the file at `path`.

    Parameters
    ----------
    allow : folders that the file may reach into
    values : whether to read every value, too, which proves checksums

    Raises
    ------
    UnsafeStoreError : where the file reaches elsewhere
    """
    candidates = [each.path for each in read.candidates(path, allow)]
    found: list[Violation] = []
    mains = []
    for main in candidates:
        wrong = list(_check_main(path, main, allow, values))
        found += wrong
        if not wrong:
            mains.append(main)
    parents = dict.fromkeys(each.rpartition("/")[0] for each in candidates)
    groups = [each for each in parents if is_result_name(each)]
    for group in groups:
        try:
            read.result(path, group, allow)
        except UsidError as error:
            found.append(_broken(group, error))
    if not candidates:
        found.append(no_main("no group that describes a Main"))
    return Findings(tuple(mains), tuple(groups), tuple(found))


def _check_main(path: str, main: str, allow: tuple[str, ...], values: bool) -> Iterator[Violation]:
    try:
        stored = read.open_main(path, main, allow)
        if values:
            _read_all(stored)
    except UnsafeStoreError:
        raise
    except NotUsidError as error:
        yield Violation(main, "error", str(error), "a version that is known", "use a later usidx")
    except UsidError as error:
        yield _broken(main, error)


def _read_all(stored: StoredMain) -> None:
    shape = stored.array.shape
    part = block_shape(shape, len(shape), stored.array.dtype.itemsize, budget=_VALUES_AT_ONCE)
    for block in blocks_of(shape, part):
        stored.array[block.key]


def _broken(place: str, error: UsidError) -> Violation:
    return Violation(place, "error", str(error), "what usidx wrote", _RESTORE)
