"""The Zarr store that is attacked, the work that is interrupted, and what has to be true after."""

from __future__ import annotations

import hashlib
import os
import pathlib
import warnings
from typing import Any

import numpy as np
import xarray as xr
import zarr

from tests.chaos.subject import (
    COLUMNS,
    GROUP,
    MAIN,
    NEW,
    POINTS,
    fit_request,
    fit_values,
    keys,
    raw_values,
)
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.stores import store_at
from usidx.stores.deleting import delete_group
from usidx.stores.lock import sweep_runs
from usidx.stores.zarr import ZarrStore, draft

ROWS = 4
FIT = f"{GROUP}/Fit"


def raw_spec(path: str = MAIN, points: int = POINTS) -> MainSpec:
    """The Main that everything is made of."""
    return MainSpec(
        path=path,
        quantity="Current",
        units="nA",
        dtype=np.dtype("f4"),
        position=fit_request(rows=ROWS).outputs[0].spec.position,
        spectroscopic=Grid("spectroscopic", (Dimension("Bias", "V", np.arange(points) * 0.1),)),
    )


def raw(points: int = POINTS) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Its values."""
    whole = raw_values(ROWS).reshape(ROWS, COLUMNS, POINTS)
    return whole if points == POINTS else np.repeat(whole, 2, axis=2)[..., :points] + 1


def make_store(path: str, points: int = POINTS, *, overwrite: bool = False) -> None:
    """A store with one Main, in chunks of one row."""
    _write(path, raw_spec(points=points), raw(points), None, overwrite)


def _write(
    path: str,
    spec: MainSpec,
    values: np.ndarray[Any, Any],
    group: str | None,
    overwrite: bool,
) -> None:
    with draft.draft(path, group=group, overwrite=overwrite) as new:
        (target,) = new.add_main(spec, (1, COLUMNS, spec.shape[2]))
        for row in range(ROWS):
            target[row : row + 1, 0:COLUMNS, 0 : spec.shape[2]] = values[row : row + 1]


def fill(claim: Any) -> None:
    """Write and mark every block that is not done."""
    writer = claim.writers["Fit"]
    done = writer.done()
    for key in keys(ROWS):
        if not done[key[0]].all():
            writer.write(key, fit_values(key[0].start))
            writer.mark(key)


def run(path: str, *, durable: bool = False) -> None:
    """The whole life of a result."""
    with ZarrStore(path).claim(fit_request(rows=ROWS), durable=durable) as held:
        fill(held)
        held.complete()


def run_hurried(path: str) -> None:
    """The same with marks before values, as nobody should do it."""
    with ZarrStore(path).claim(fit_request(rows=ROWS)) as held:
        for key in keys(ROWS):
            held.writers["Fit"].mark(key)
            held.writers["Fit"].write(key, fit_values(key[0].start))
        held.complete()


def go_on(path: str) -> None:
    """What somebody does after an interruption."""
    store = store_at(path) if os.path.exists(path) else ZarrStore(path)
    try:
        found = [each for each in store.results(MAIN) if each.group == GROUP]
    except FileNotFoundError:
        found = []
    if not found:
        run(path)
    elif found[0].status == "partial":
        with store.reopen(GROUP) as held:
            fill(held)
            held.complete()


def export(path: str, *, overwrite: bool = True) -> None:
    """Another store in place of this one, with one more point in each spectrum."""
    make_store(path, POINTS + 1, overwrite=overwrite)


def replace_main(path: str) -> None:
    """The Main of the store replaced by one of another shape, in its place."""
    _write(path, raw_spec(points=POINTS + 1), raw(POINTS + 1), MAIN, True)


def add_main(path: str) -> None:
    """One more Main."""
    _write(path, raw_spec(NEW), raw(), NEW, False)


def digest(path: str) -> str:
    """Of every file of the Main."""
    total = hashlib.sha256()
    for each in sorted(pathlib.Path(path, MAIN.strip("/")).rglob("*")):
        if each.is_file():
            total.update(each.name.encode() + each.read_bytes())
    return total.hexdigest()


def result_faults(path: str, *, source: bool = True, power_failure: bool = False) -> list[str]:
    """What is wrong with a store in which a result was being made, and after going on with it.

    Parameters
    ----------
    source : whether there is a source in it; else results have a store to themselves
    power_failure : whether what was marked may lack its values, if that shows
    """
    found: list[str] = []
    try:
        if os.path.exists(path):
            store_at(path)  # the next open
            found += source_faults(path, POINTS) if source else []
            found += _fit_faults(path, power_failure)
        if found:
            return found
        go_on(path)
        found = _fit_faults(path, power_failure)
        if ZarrStore(path).result(GROUP).status != "complete":
            found.append("resumed, but not complete")
        if not power_failure:
            found += _seen_by_xarray(path, FIT, whole_fit())
        found += left_behind(path)
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def whole_fit() -> np.ndarray[Any, np.dtype[np.float32]]:
    """All values of the result."""
    return np.concatenate([fit_values(row) for row in range(ROWS)])


def replaced_faults(path: str) -> list[str]:
    """What is wrong with a Main, or store, that was to be replaced: it has to be old or new."""
    try:
        store_at(path)
        points = ZarrStore(path).open_main(MAIN).spec.shape[2]
        found = source_faults(path, points) + left_behind(path)
        found += _seen_by_xarray(path, MAIN, raw(points))
        if found or points == POINTS + 1:
            return found
        export(path)
        return replaced_faults(path)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def replaced_main_faults(path: str) -> list[str]:
    """The same where only the Main was."""
    try:
        store_at(path)
        points = ZarrStore(path).open_main(MAIN).spec.shape[2]
        found = source_faults(path, points) + _seen_by_xarray(path, MAIN, raw(points))
        if found or points == POINTS + 1:
            return found + left_behind(path)
        replace_main(path)
        return replaced_main_faults(path)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def new_store_faults(path: str) -> list[str]:
    """What is wrong with a new store: it has to be there whole, or not at all."""
    try:
        if not os.path.exists(path):
            make_store(path)
        store_at(path)
        return source_faults(path, POINTS) + left_behind(path)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def delete_faults(path: str) -> list[str]:
    """What is wrong with a store of which a result was being deleted: it is whole, or gone."""
    try:
        store = store_at(path)
        sweep_runs(path)  # as whoever writes next
        found = source_faults(path, POINTS) + _fit_faults(path, False) + left_behind(path)
        there = [each.group for each in store.results(MAIN)] == [GROUP]
        found += _seen_by_xarray(path, FIT, whole_fit()) if there else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = xr.open_datatree(path, engine="zarr").groups
        if not there and GROUP in seen:
            found.append("plain xarray still sees it")
        if found or not there:
            return found
        delete_group(store, GROUP)
        return delete_faults(path)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def added_faults(path: str) -> list[str]:
    """What is wrong with a store to which a Main was added: it is there whole, or not at all."""
    try:
        store_at(path)
        found = source_faults(path, POINTS)
        there = [each.path for each in ZarrStore(path).mains()]
        if NEW not in there:
            add_main(path)
        found += _seen_by_xarray(path, NEW, raw())
        values = ZarrStore(path).open_main(NEW).array[:, :, :]
        if not np.array_equal(values, raw()):
            found.append("the new Main has other values")
        return found + left_behind(path)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def source_faults(path: str, points: int) -> list[str]:
    """What is wrong with the source, by plain zarr and by usidx."""
    found = []
    folder = os.path.join(path, MAIN.strip("/"))
    names = [name for name, each in zarr.open_group(folder, mode="r").arrays() if each.ndim == 3]
    (name,) = names
    plain = zarr.open_array(os.path.join(folder, name), mode="r")[...]
    if not np.array_equal(plain, raw(points)):
        found.append("the values of the source have changed")
    if not np.array_equal(ZarrStore(path).open_main(MAIN).array[:, :, :], raw(points)):
        found.append("usidx reads other values of the source")
    return found


def _fit_faults(path: str, power_failure: bool) -> list[str]:
    store = ZarrStore(path)
    groups = [each.group for each in store.results(MAIN)]
    if not groups:
        return []
    if groups != [GROUP]:
        return [f"there are the groups {groups}"]
    record = store.result(GROUP)
    if record.mains != (FIT,):
        return [f"the group has the Mains {record.mains}"]
    stored = store.open_main(FIT)
    shape = (ROWS, COLUMNS)
    marks = np.ones(shape, bool) if stored.completed is None else stored.completed[:, :]
    found = []
    for row in range(ROWS):
        if not marks[row].any():
            continue
        try:
            values = stored.array[row : row + 1, :, :]
        except OSError as error:
            if not power_failure:  # that it shows is all that can be asked for then
                found.append(f"row {row} is marked, but cannot be read: {error}")
            continue
        if not np.array_equal(values, fit_values(row)):
            found.append(f"row {row} is marked but wrong")
    if record.status == "complete" and not marks.all():
        found.append("complete, but not all is there")
    if record.status not in ("partial", "complete"):
        found.append(f"status {record.status!r}")
    return found


def _seen_by_xarray(path: str, main: str, expected: np.ndarray[Any, Any]) -> list[str]:
    """What plain xarray sees otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = xr.open_dataset(path, engine="zarr", group=main.strip("/"))
        (values,) = (each.values for each in seen.data_vars.values() if each.ndim == 3)
        inside = xr.open_datatree(path, engine="zarr")[main]
        (again,) = (each.values for each in inside.data_vars.values() if each.ndim == 3)
    found = []
    for each in (values, again):
        if not np.array_equal(each, expected):
            found.append(f"plain xarray sees other values of {main!r}, shape {each.shape}")
    return found


def left_behind(path: str) -> list[str]:
    """Files beside the store, and half written ones in it."""
    folder, name = os.path.split(path)
    store_at(path)
    beside = [each for each in os.listdir(folder) if name in each and each != name]
    inside = [str(each) for each in pathlib.Path(path).rglob("*.partial")]
    return [f"{each} was left" for each in (*beside, *inside)]
