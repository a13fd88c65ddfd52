"""What every reader promises, checked on a file of which the values are known."""

from __future__ import annotations

import functools
import math
import os
import pickle
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.errors import UsidError
from usidx.model.dimension import Array
from usidx.opening import list_mains
from usidx.opening import open as open_main
from usidx.readers import store_of
from usidx.readers.store import ForeignStore
from usidx.testing.measuring import by_another_process, open_files, spending, unclosed_files

_Path = str | os.PathLike[str]
# Smaller files tell nothing of what is read of them: what opening takes anyway is as much.
TELLING = 4 * 2**20
_WRONG = {
    "noise": np.random.default_rng(7).bytes(6000),
    "text": b"This is a letter to somebody, and holds no measurement at all.\n" * 40,
    "zeros": bytes(6000),
}


@dataclass(frozen=True)
class _Case:
    """A file, how it is opened, and what is to come out."""

    path: str
    main: str | None
    options: Mapping[str, Any]
    expected: Array | None
    tolerance: float = 0.0
    beside: tuple[str, ...] = ()
    reader: str = ""

    def open(self, path: str | None = None, **changed: Any) -> dict[str, xr.DataArray]:
        """The Main, or the fields of a compound one, by their names."""
        path = path or self.path
        reach = {"allow_external": [os.path.dirname(path)]} if self.beside else {}
        found = open_main(path, self.main, **{**reach, **self.options, **changed})
        if isinstance(found, xr.DataArray):
            return {"": found}
        return {str(name): each for name, each in found.data_vars.items()}

    def wanted(self, name: str) -> Array:
        assert self.expected is not None
        found: Array = self.expected[name] if name else self.expected
        return found

    def same(self, found: Any, expected: Array, said: str) -> None:
        """Nothing, where values, shape and dtype are as expected."""
        found = np.asarray(found)
        dtype = expected.dtype.newbyteorder("=")
        assert found.dtype == dtype, f"dtype {found.dtype} {said}, expected {dtype}"
        assert found.shape == expected.shape, (
            f"shape {found.shape} {said}, expected {expected.shape}"
        )
        if self.tolerance:
            np.testing.assert_allclose(found, expected, rtol=self.tolerance, err_msg=said)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=said)


def check_reader(
    path: _Path,
    expected: Array | None,
    main: str | None = None,
    *,
    beside: Sequence[_Path] = (),
    tolerance: float = 0.0,
    cut_short: bool = True,
    wrong: bool = True,
    client: Any = None,
    **options: Any,
) -> None:
    """Check what every reader promises, on one file of which the values are known.

    That is dtype and values, also of single blocks, by threads and by another process; an array
    that pickles small; no file that stays open, nor one that is left to Python to close; and a
    `UsidError`, and nothing else, for a file that is cut short (also after it was opened), that is
    gone or of another kind. Of a file of 4 MiB or more, one block must not take the memory or the
    bytes of the whole, unless the reader says `is_lazy=False`.

    Parameters
    ----------
    path : of the file, or the folder
    expected : the values, in the order of the opened dimensions; of a compound Main, one array with
        its fields. None where the file is recognised but holds no array, which is to be said
    main : name of the Main; the only one when None
    beside : other files that it is nothing without, in its folder, which it may reach; they are cut
        short as well
    tolerance : relative, of the values; they must be equal when 0
    cut_short : whether half of the file is to be refused; not where nothing in it says how long it
        is, as in texts
    wrong : whether other contents under its name are to be refused; not where anything will do,
        as for bare values
    client : a `distributed.Client`, on whose workers values are read too
    options : of the reader, and `reader=` itself

    Raises
    ------
    AssertionError : saying what is not as promised
    """
    path = os.path.abspath(path)
    others = tuple(os.path.abspath(each) for each in beside)
    before = open_files()
    with unclosed_files(os.path.dirname(path)) as unclosed:
        reach = [os.path.dirname(path)] if others else []
        store = store_of(path, reach, options.get("reader"), _own(options))
        assert isinstance(store, ForeignStore), f"{path!r} is a file of USID"
        case = _Case(path, main, options, expected, tolerance, others, store.reader.name)
        if expected is None:
            _check_without_array(case)
        else:
            _check_arrays(store)
            _check_values(case)
            _check_places(case)
            if client is not None:
                _check_workers(case, client)
            if store.reader.is_lazy:
                _check_lazy(case, store)
    _check_closed(before, unclosed, "reading")
    for check in (_Damage.cut, _Damage.cut_when_open, _Damage.replaced, _Damage.gone):
        with tempfile.TemporaryDirectory() as folder:
            damage = _Damage(case, folder, cut_short, wrong)
            with unclosed_files(folder) as unclosed:
                check(damage)
            _check_closed(before, unclosed, "a file that is refused")


def _own(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in options.items() if name != "reader"}


def _check_closed(before: Mapping[str, int], unclosed: Sequence[str], after: str) -> None:
    left = open_files() - Counter(before)
    assert not left, f"files that stay open after {after}: {sorted(left)}"
    assert not unclosed, f"files that nobody closed after {after}: {unclosed}"


def _check_without_array(case: _Case) -> None:
    """Check that the file is recognised, and refused by name."""
    try:
        list_mains(case.path, **case.options)
    except UsidError:
        return
    raise AssertionError("no values are expected, and there are Mains")


def _check_arrays(store: ForeignStore) -> None:
    """Check that arrays pickle, without which no Main opens, and give what they say."""
    for each in store._found():
        try:
            pickle.dumps(each.array)
        except Exception as error:  # of any kind, from anywhere in the array
            told = f"{type(error).__name__}: {error}"
            raise AssertionError(f"{each.name!r} does not pickle: {told}") from error
        said = each.array.dtype.newbyteorder("=")
        block = np.asarray(each.array[(slice(0, 1),) * each.array.ndim])
        found = block.dtype.newbyteorder("=")
        assert found == said, f"the array of {each.name!r} gives dtype {found} and says {said}"


def _check_values(case: _Case) -> None:
    """Check all values, single blocks of them, and those without dask."""
    opened, plain = case.open(), case.open(chunks=None)
    assert case.expected is not None
    names = case.expected.dtype.names or ("",)
    assert tuple(opened) == names, f"fields {tuple(opened)}, expected {names}"
    generator = np.random.default_rng(0)
    for name, array in opened.items():
        expected = case.wanted(name)
        dtype = expected.dtype.newbyteorder("=")
        assert array.dtype == dtype, f"dtype {array.dtype}, expected {dtype}"
        assert array.shape == expected.shape, f"shape {array.shape}, expected {expected.shape}"
        assert array.chunks is not None, "not lazy"
        assert not isinstance(plain[name].variable._data, np.ndarray), "not lazy without dask"
        case.same(array.values, expected, "of all values")
        for number in range(14):
            key = tuple(_part(generator, size, step=1 + number // 10) for size in array.shape)
            said = f"of the block {key}"
            case.same(array[key].values, expected[key], said)
            case.same(plain[name][key].values, expected[key], f"{said} without dask")
        case.same(plain[name].values, expected, "without dask")


def _part(generator: np.random.Generator, size: int, step: int) -> Any:
    if size and generator.random() < 0.3:
        return int(generator.integers(size))
    first, last = sorted(map(int, generator.integers(0, size + 1, 2)))
    return slice(first, last, step)


def _check_places(case: _Case) -> None:
    """Check that values are the same after pickling, by threads, and by another process."""
    for name, array in case.open().items():
        expected = case.wanted(name)
        pickled = pickle.dumps(array)
        again = pickle.loads(pickled)
        case.same(again.values, expected, "after pickling")
        with ThreadPoolExecutor(4) as pool:
            for values in pool.map(lambda _, array=array: array.values, range(4)):
                case.same(values, expected, "by threads")
        try:
            found = by_another_process(pickled)
        except Exception as error:  # of any kind, from anywhere in the array
            said = f"{type(error).__name__}: {error}"
            raise AssertionError(f"another process cannot read it: {said}") from error
        case.same(found, expected, "by another process")


def _check_workers(case: _Case, client: Any) -> None:
    """Check that workers of a cluster read the same, and keep no file open."""
    before = client.run(open_files)
    for name, array in case.open().items():
        case.same(client.compute(array.data).result(), case.wanted(name), "on workers")
    for worker, now in client.run(open_files).items():
        left = {each for each in now - before[worker] if each.startswith(_folder(case))}
        assert not left, f"files that stay open on a worker: {sorted(left)}"


def _folder(case: _Case) -> str:
    return os.path.dirname(case.path) + os.sep


def _check_lazy(case: _Case, store: ForeignStore) -> None:
    """Check that opening reads no values, and that one block takes the room of one block."""
    foreign = next(each for each in store._found() if _is_called(each.path, case.main))
    for name in case.open():
        expected = case.wanted(name)
        whole = expected.nbytes
        if whole < TELLING:
            continue
        with spending() as spent:
            array = case.open()[name]
        for what, took in (("memory", spent.memory), ("bytes of the file", spent.read)):
            assert took < whole // 4, f"not lazy: opening takes {took} {what}, all values {whole}"
        assert len(pickle.dumps(array)) < whole // 4, "not lazy: the values are in the pickle"
        sizes = {dim: 1 if dim == array.dims[0] else -1 for dim in array.dims}
        if foreign.chunks is not None:
            sizes = array.encoding["preferred_chunks"]
        parts = case.open(chunks=sizes)[name]
        block = parts.isel({dim: slice(-each[-1], None) for dim, each in parts.chunksizes.items()})
        size = math.prod(block.shape) * expected.dtype.itemsize
        with spending() as spent:
            block.compute()
        for what, took in (("memory", spent.memory), ("bytes of the file", spent.read)):
            # of a file in one block, that is all there is to read
            assert took < max(whole // 2, 3 * size), (
                f"not lazy: one block of {size} bytes takes {took} {what}, all values {whole}"
            )


def _is_called(path: str, main: str | None) -> bool:
    return main is None or path.endswith("/" + main.strip("/"))


@dataclass(frozen=True)
class _Damage:
    """Copies of a file in a folder, and what may be wrong with them."""

    case: _Case
    folder: str
    cut_short: bool
    wrong: bool

    @contextmanager
    def copied(self) -> Iterator[str]:
        """A copy of the file and of all that belongs to it, for a while."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            for each in (self.case.path, *self.case.beside):
                target = os.path.join(place, os.path.relpath(each, os.path.dirname(self.case.path)))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                copy: Callable[[str, str], Any] = (
                    shutil.copytree if os.path.isdir(each) else shutil.copyfile
                )
                copy(each, target)
            yield os.path.join(place, os.path.basename(self.case.path))

    def parts(self, path: str) -> list[str]:
        """What of a copy is cut: the file and those beside it, or the largest of a folder."""
        own = [path]
        if os.path.isdir(path):
            inside = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
            own = [max(inside, key=os.path.getsize)]
        start = os.path.dirname(self.case.path)
        return own + [
            os.path.join(os.path.dirname(path), os.path.relpath(each, start))
            for each in self.case.beside
        ]

    def cut(self) -> None:
        """A file without its end is refused; where little is missing, it may be as it was."""
        for number in range(1 + len(self.case.beside)):
            with self.copied() as path:
                part = self.parts(path)[number]
                with open(part, "rb") as file:
                    raw = file.read()
                size = len(raw)
                # none that ends a frame: where nothing counts them, that is a whole file
                for length in dict.fromkeys(
                    (size - 1, size - size // 4 - 1, size // 2 + 1, min(16, size // 2), 0)
                ):
                    with open(part, "wb") as file:
                        file.write(raw[:length])
                    said = f"{length} of {size} bytes of {os.path.basename(part)!r}"
                    # what only some files say is not asked of the others
                    little = length > size // 2 + 1 or os.path.isdir(path)
                    self.refused(path, said, may_be_whole=little, may_be_other=not self.cut_short)

    def cut_when_open(self) -> None:
        """A file that is cut after it was opened is refused when it is read."""
        if self.case.expected is None:
            return
        for number in range(1 + len(self.case.beside)):
            with self.copied() as path:
                opened = self.case.open(path)
                part = self.parts(path)[number]
                os.truncate(part, os.path.getsize(part) // 2)
                self.refused(path, "half of it, when it is open", opened, may_be_whole=True)

    def replaced(self) -> None:
        """Anything else under the name of the file is refused, by this reader and all others."""
        if os.path.isdir(self.case.path):
            with self.copied() as path:
                shutil.rmtree(path)
                os.mkdir(path)
                self.refused(path, "an empty folder")
            return
        for kind, raw in _WRONG.items():
            named: dict[str, Any] = {"reader": self.case.reader}
            for chosen in (named, {}):
                with self.copied() as path:
                    with open(path, "wb") as file:
                        file.write(raw)
                    said = f"{kind} in its place, by {chosen or 'the content'}"
                    self.refused(path, said, may_be_other=not self.wrong, **chosen)

    def gone(self) -> None:
        """A file that is not there any more is refused, and so is one of which a part is gone."""
        for number in range(1 + len(self.case.beside)):
            with self.copied() as path:
                opened = {} if self.case.expected is None else self.case.open(path)
                part = self.parts(path)[number]
                os.remove(part)
                if not os.path.isdir(path):
                    self.refused(path, f"without {os.path.basename(part)!r}")
                    if opened:
                        said = f"{os.path.basename(part)!r}, which went after it was opened"
                        self.refused(path, said, opened, may_be_whole=True)

    def refused(
        self,
        path: str,
        said: str,
        opened: Mapping[str, xr.DataArray] | None = None,
        *,
        may_be_whole: bool = False,
        may_be_other: bool = False,
        **options: Any,
    ) -> None:
        """Check that values are refused with an error of usidx."""
        case = self.case
        try:
            with warnings.catch_warnings():
                # what is said besides is as it may be
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", ResourceWarning)
                opened = opened if opened is not None else case.open(path, **options)
                found = {name: np.asarray(each.values) for name, each in opened.items()}
        except UsidError:
            return
        except Exception as error:  # of any kind: that is what is checked
            raise AssertionError(
                f"{said}: {type(error).__name__} ({error}), which is no UsidError"
            ) from error
        if may_be_other:
            return
        assert may_be_whole, f"{said} are no error"
        assert case.expected is not None, f"{said} are no error"
        same = functools.partial(case.same, said=f"of {said}, which are no error")
        for name, values in found.items():
            same(values, case.wanted(name))
