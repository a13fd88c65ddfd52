"""What is in an h5USID file: its Mains and its result groups."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import h5py

from usidx.errors import DamagedStoreError, MainNotFoundError, NotUsidError, did_you_mean
from usidx.model.blocks import DEFAULT_BUDGET, block_shape
from usidx.model.layout import Layout
from usidx.model.main import MainSpec
from usidx.model.rules import MainFacts, Violation, check_main, errors, invalid_main
from usidx.stores import guard
from usidx.stores.base import BlockArray, Candidate, MainEntry, ResultRecord, StoredMain
from usidx.stores.failures import Failures
from usidx.stores.hdf5.beside import further_beside
from usidx.stores.hdf5.completion import Completed, Completion, FirstRows
from usidx.stores.hdf5.file import FileIdentity, open_file
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.ancillaries import Ancillaries
from usidx.stores.hdf5.objects.filters import require_filters
from usidx.stores.hdf5.objects.place import REFERENCES, Place, find_place, to_bytes
from usidx.stores.hdf5.objects.walk import Catalog, find
from usidx.stores.hdf5.results import Results
from usidx.stores.hdf5.values.bytes import HDF5Array
from usidx.stores.hdf5.values.selection import Fold
from usidx.stores.hdf5.writing.failures import find_numbers, reasons_of
from usidx.stores.keeping import kept
from usidx.stores.remote.url import Url

__all__ = [
    "candidates",
    "mains",
    "open_file",
    "open_main",
    "opened",
    "result",
    "result_of",
    "results",
]

_IN_SPEC = frozenset({*REFERENCES, "quantity", "units"})
# Of the values of a Main, this much goes into its identity.
_SAMPLED_VALUES = 1024
_SAMPLED_PLACES = 8
# Whole spectra of the rows of one chunk that are read at once take so much at most.
_WIDEST = 4 * DEFAULT_BUDGET


class Session:
    """A file that is open for reading, with what was found in it so far.

    Parameters
    ----------
    file : open, and looked at by the guard
    path : of the file
    allow_external : folders with other files that this one may reach
    """

    def __init__(self, file: h5py.File, path: str, allow_external: Sequence[str]) -> None:
        self.file = file
        self.path = path
        self.allow_external = allow_external
        self.catalog = Catalog(file, bool(allow_external))
        self.ancillaries = Ancillaries(self.catalog)
        self.results = Results(self.catalog, path)


@contextmanager
def opened(path: str, allow_external: Sequence[str] = ()) -> Iterator[Session]:
    """The open file, after a look at what it reaches; nothing was opened in it yet."""
    with open_file(path) as file, ExitStack() as stack:

        def made(end: ExitStack) -> Session:
            guard.check(file, () if isinstance(path, Url) else allow_external)
            session = Session(file, path, allow_external)
            end.callback(session.catalog.close)
            return session

        known = None
        if not isinstance(path, Url):
            known = kept(("session", path, tuple(allow_external)), made)
        yield known or made(stack)


def candidates(
    path: str, allow_external: Sequence[str] = (), ending: str = ""
) -> tuple[Candidate, ...]:
    """What looks like a Main, in the order of the file; nothing is known about its ancillaries.

    Parameters
    ----------
    ending : of the paths that are looked for: one name, or several with "/" between
    """
    with opened(path, allow_external) as session:
        return tuple(
            Candidate(where, "raw" if session.results.holding(where) is None else "result")
            for where in session.catalog.candidates_called(ending)
        )


def mains(path: str, allow_external: Sequence[str] = ()) -> tuple[MainEntry, ...]:
    """Every valid Main of the file at `path`, in the order of the file.

    Raises
    ------
    NotUsidError : where there is none; candidates and what is wrong with them are named
    """
    found, broken, others = [], [], 0
    with opened(path, allow_external) as session:
        for where in session.catalog.candidates:
            dataset = find(session.file, where)
            facts = session.ancillaries.facts(dataset, where)
            wrong = errors(check_main(facts))
            if wrong:
                broken.append((where, wrong))
            else:
                found.append(_entry(session, where, dataset, facts))
        others = 0 if found else len(session.file)
    if not found:
        raise NotUsidError(_no_main(path, broken, others))
    return tuple(found)


def _no_main(path: str, broken: list[tuple[str, tuple[Violation, ...]]], others: int) -> str:
    if not broken:
        what = "is an empty HDF5 file" if not others else "is an HDF5 file without any Main"
        return (
            f"{path!r} {what}: a Main is a 2-D dataset whose attributes {', '.join(REFERENCES)} "
            "refer to its ancillaries"
        )
    listed = "".join(
        f"\n  - {where}: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
        for where, wrong in broken[:5]
    )
    more = f"\n  and {len(broken) - 5} more" if len(broken) > 5 else ""
    return f"{path!r} has no valid Main; what comes near is:{listed}{more}"


def _entry(session: Session, where: str, dataset: h5py.Dataset, facts: MainFacts) -> MainEntry:
    position, spectroscopic = session.ancillaries.layouts(facts)
    group = session.results.holding(where)
    return MainEntry(
        path=where,
        dims=position.dims + spectroscopic.dims,
        shape=position.shape + spectroscopic.shape,
        quantity=facts.quantity.value or "",
        units=facts.units.value or "",
        dtype=facts.dtype,
        kind="raw" if group is None else "result",
        status="complete" if group is None else str(session.results.completion(group, dataset)),
    )


def open_main(path: str, main: str, allow_external: Sequence[str] = ()) -> StoredMain:
    """The Main at `main` of the file at `path`; only metadata, ancillaries and a sample are read.

    Raises
    ------
    MainNotFoundError : where there is no dataset of that name
    InvalidMainError : where it breaks the model, with everything that is wrong
    """
    with opened(path, allow_external) as session:
        return stored_main(session, "/" + main.strip("/"))


def stored_main(session: Session, main: str) -> StoredMain:
    """The Main at the whole path `main` of an open file; parameters and errors as `open_main`."""
    dataset = _find(session, main)
    facts = session.ancillaries.facts(dataset, main)
    violations = check_main(facts)
    if errors(violations):
        raise invalid_main(main, violations)
    position, spectroscopic = session.ancillaries.layouts(facts)
    place = find_place(dataset, session.ancillaries.sides(main))
    array = block_array(dataset, place, (position, spectroscopic), session.allow_external)
    group = session.results.holding(main)
    completion = None if group is None else session.results.completion(group, dataset)
    record = None if group is None else session.results.record(group)
    attrs = attributes.read_all(dataset, skip=_IN_SPEC, path_of=session.catalog.path_of)
    return StoredMain(
        store=session.path,
        spec=MainSpec(
            path=main,
            quantity=facts.quantity.value or "",
            units=facts.units.value or "",
            dtype=place.dtype,
            position=position,
            spectroscopic=spectroscopic,
            attrs=attrs,
        ),
        array=array,
        chunks=_chunks(place, position, array.shape),
        identity=_identity(dataset, place, main),
        completed=_completed(session, position, completion, record),
        result=record,
        allow_external=tuple(session.allow_external),
        failures=_failures(session, main, position, completion, record),
        further=further_beside(session, attrs, main),
    )


def _find(session: Session, main: str) -> h5py.Dataset:
    dataset = find(session.file, main)
    if isinstance(dataset, h5py.Dataset):
        return dataset
    known = session.catalog.candidates
    what = f"{session.path!r} has no Main {main!r}"
    if isinstance(dataset, h5py.Group):
        what = f"{main!r} in {session.path!r} is a group"
        inside = [where for where in known if where.startswith(main.rstrip("/") + "/")]
        raise MainNotFoundError(f"{what}; Mains in it: {', '.join(inside) or 'none'}")
    raise MainNotFoundError(
        f"{what}{did_you_mean(main, known)}; it has {', '.join(known[:20]) or 'none'}"
        + (", ..." if len(known) > 20 else "")
    )


def block_array(
    dataset: h5py.Dataset,
    place: Place,
    layouts: Sequence[Layout | Fold],
    allow_external: Sequence[str],
) -> HDF5Array:
    """The values of a dataset as an array that finds them again without an open file.

    Parameters
    ----------
    layouts : how each axis unfolds
    """
    from usidx.stores.hdf5.values.afar import FarArray, identity_of, raw_of

    raw = raw_of(dataset)
    if raw is not None:
        return FarArray(
            path=raw.url,
            dataset=str(dataset.name),
            folds=tuple(Fold(layout.shape, layout.order) for layout in layouts),
            place=place,
            identity=identity_of(raw.version),
        )
    return HDF5Array(
        # behind an external link this is another file than the one that was asked for
        path=os.path.abspath(dataset.file.filename),
        dataset=str(dataset.name),
        folds=tuple(Fold(layout.shape, layout.order) for layout in layouts),
        place=place,
        identity=FileIdentity.of(dataset.file),
        allow_external=tuple(map(os.path.abspath, allow_external)),
    )


def _chunks(place: Place, position: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of blocks that read each stored chunk once."""
    n_position, itemsize = len(position.shape), place.dtype.itemsize
    if place.chunks is None:
        return block_shape(shape, n_position, itemsize)
    rows, columns = place.chunks
    height = math.prod(shape[:n_position])
    width = math.prod(shape[n_position:])
    if min(rows, height) * width * itemsize <= _WIDEST or columns >= width:
        return block_shape(shape, n_position, itemsize, align=rows)
    # stored for reading maps: blocks of whole spectra would read all of it, each
    tall = block_shape((*shape[:n_position], columns), n_position, itemsize, align=rows)[:-1]
    if tall != shape[:n_position]:
        wide = run_of(shape[n_position:], columns)
    else:
        wide = run_of(shape[n_position:], max(columns, DEFAULT_BUDGET // (height * itemsize)))
    return tall + wide


def run_of(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """A box of at most `count` row-major cells that follow one another.

    Examples
    --------
    >>> run_of((4, 100), 250)
    (2, 100)
    """
    box = [1] * len(shape)
    for axis in reversed(range(len(shape))):
        box[axis] = min(count, shape[axis])
        count //= shape[axis]
        if count <= 1:
            break
    return tuple(box)


def _identity(dataset: h5py.Dataset, place: Place, main: str) -> str:
    """A digest of what the Main is, the same after copying and moving the file."""
    digest = hashlib.sha256(f"{main}:{place.digest}".encode())
    rows, columns = dataset.shape
    # of chunked storage fewer places, as each of them means a chunk to decompress
    require_filters(dataset)
    places = min(rows, _SAMPLED_PLACES if place.chunks is None else 3)
    width = min(columns, _SAMPLED_VALUES, place.chunks[1] if place.chunks else columns)
    for number in range(places):
        row = number * (rows - 1) // max(1, places - 1)
        column = number * (columns - width) // max(1, places - 1)
        if place.chunks:
            column = column // place.chunks[1] * place.chunks[1]
        digest.update(to_bytes(dataset[row, column : column + width]))
    return digest.hexdigest()


def _completed(
    session: Session,
    position: Layout,
    completion: Completion | None,
    record: ResultRecord | None,
) -> BlockArray | None:
    """Which positions are complete, for a Main of a partial group; None where nothing says it."""
    if record is None or completion is None or record.status != "partial":
        return None
    if completion.marks is not None:
        marks = find(session.file, completion.marks)
        if not isinstance(marks, h5py.Dataset):
            raise DamagedStoreError(
                f"{completion.marks!r} marks what of {record.group!r} is complete, and cannot be "
                "opened by its name: a group in the file is damaged; get the original again"
            )
        if marks.shape != (position.size,):
            return None
        place = find_place(marks)
        return Completed(block_array(marks, place, (position,), session.allow_external))
    if completion.status == "unknown" or completion.total != position.size:
        return None
    return FirstRows(Fold(position.shape, position.order), completion.done)


def _failures(
    session: Session,
    main: str,
    position: Layout,
    completion: Completion | None,
    record: ResultRecord | None,
) -> Failures | None:
    """Where the step failed, for a Main of a result that says so."""
    if record is None or completion is None or not completion.failed:
        return None
    group = find(session.file, record.group)
    numbers = find_numbers(group, main.rpartition("/")[2], position.size)
    if numbers is None:
        return None
    array = block_array(numbers, find_place(numbers), (position,), session.allow_external)
    return Failures(completion.failed, array, reasons_of(group))


def results(path: str, main: str, allow_external: Sequence[str] = ()) -> tuple[ResultRecord, ...]:
    """Result groups of the Main at `main`, oldest first."""
    with opened(path, allow_external) as session:
        return session.results.of(main)


def result(path: str, group: str, allow_external: Sequence[str] = ()) -> ResultRecord:
    """One result group by its path.

    Raises
    ------
    MainNotFoundError : where there is none at that path
    """
    with opened(path, allow_external) as session:
        return session.results.record(session.results.find(group))


def result_of(path: str, main: str, allow_external: Sequence[str] = ()) -> ResultRecord | None:
    """The result group that the Main at `main` lies in; None for raw data.

    Raises
    ------
    MainNotFoundError : where there is no such Main
    """
    with opened(path, allow_external) as session:
        main = "/" + main.strip("/")
        _find(session, main)
        group = session.results.holding(main)
        return None if group is None else session.results.record(group)
