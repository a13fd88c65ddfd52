"""`usidx info` and `usidx tree`: what a file holds, without reading a measured value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from usidx.cli.readers import reader_options
from usidx.cli.storage import storage_options
from usidx.demo.wording import as_json, by_sign, in_bytes

if TYPE_CHECKING:
    from usidx.model.layout import Layout
    from usidx.stores.base import MainEntry, ResultRecord, StoredMain

INFO_EXAMPLES = """\b
Examples:
  usidx info scan.h5                 the Mains of a file, as a table
  usidx info scan.h5 Raw_Data        one Main: its dimensions, units and results
  usidx info scan.zarr --json        the same for scripts
  usidx info s3://lab/scan.h5 --storage-option profile=lab
"""
TREE_EXAMPLES = """\b
Examples:
  usidx tree scan.h5
  usidx tree scan.zarr --json
"""


@click.command(epilog=INFO_EXAMPLES, short_help="Which Mains a file holds, and what one is.")
@click.argument("file")
@click.argument("main", required=False)
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
@reader_options
@storage_options
def info(file: str, main: str | None, machine: bool, how: dict[str, Any]) -> None:
    """Which Mains FILE holds, or what one MAIN is and which results it has.

    MAIN is the path of a Main, or any unique ending of it.
    """
    import usidx

    mains = usidx.list_mains(file, **how)
    if main is None:
        click.echo(as_json([_entry(each) for each in mains]) if machine else str(mains))
        return
    from usidx.opening import resolve, store_of

    external = how.pop("allow_external", ())
    store = store_of(file, external, how.pop("reader", None), how)
    path = resolve(mains, main, store.path).path
    stored, results = store.open_main(path), store.results(path)
    if not machine:
        click.echo("\n".join(_lines(stored, results)))
    else:
        click.echo(as_json(_described(stored) | {"results": [_result(each) for each in results]}))


@click.command(epilog=TREE_EXAMPLES)
@click.argument("file")
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
@reader_options
@storage_options
def tree(file: str, machine: bool, how: dict[str, Any]) -> None:
    """The groups and Mains of FILE as a tree."""
    import usidx

    mains = usidx.list_mains(file, **how)
    nested: dict[str, Any] = {}
    for each in mains:
        node = nested
        *groups, name = each.path.strip("/").split("/")
        for part in groups:
            node = node.setdefault(part, {})
        node[name] = each
    if not machine:
        click.echo("\n".join([click.style(file, bold=True), *_branches(nested, "")]))
    else:
        click.echo(as_json(_nested_json(nested)))


def _branches(node: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for number, (name, below) in enumerate(node.items(), start=1):
        last = number == len(node)
        stem = indent + ("└─ " if last else "├─ ")
        if isinstance(below, Mapping):
            lines.append(f"{stem}{name}")
            lines += _branches(below, indent + ("   " if last else "│  "))
        else:
            lines.append(f"{stem}{click.style(name, fg='cyan')}  {_in_words(below)}")
    return lines


def _in_words(entry: MainEntry) -> str:
    units = f" ({entry.units})" if entry.units else ""
    status = f"  [{entry.status}]" if entry.kind == "result" else ""
    dtype = "compound" if entry.dtype.names else str(entry.dtype)
    return f"{by_sign(entry.shape, entry.dims)}  {dtype}  {entry.quantity}{units}{status}"


def _nested_json(node: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _nested_json(below) if isinstance(below, Mapping) else _entry(below)
        for name, below in node.items()
    }


def _entry(entry: MainEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "dims": entry.dims,
        "shape": entry.shape,
        "quantity": entry.quantity,
        "units": entry.units,
        "dtype": str(entry.dtype),
        "kind": entry.kind,
        "status": entry.status,
    }


def _lines(stored: StoredMain, results: tuple[ResultRecord, ...]) -> list[str]:
    spec = stored.spec
    dtype = ", ".join(spec.dtype.names) if spec.dtype.names else str(spec.dtype)
    units = f" ({spec.units})" if spec.units else ""
    lines = [
        f"{click.style(spec.path, bold=True)}  in {stored.store}",
        f"  {spec.quantity}{units}, {dtype}, {in_bytes(spec.nbytes)}",
    ]
    for side in (spec.position, spec.spectroscopic):
        for axis in _axes(side):
            shown = axis["name"] if not axis["units"] else f"{axis['name']} ({axis['units']})"
            ends = "" if axis["first"] is None else f"   {axis['first']:g} .. {axis['last']:g}"
            lines.append(f"  {side.role:<14} {shown:<22} {axis['size']:>8}{ends}")
    lines.append("  results" if results else "  no results yet")
    lines += [f"    {each.name}  {_progress(each)}" + _failures(each) for each in results]
    return lines


def _progress(result: ResultRecord) -> str:
    from usidx.stores.progress import share_of

    if result.status != "partial":
        return result.status
    done = f"{share_of(result)} % done ({result.done} of {result.total} positions)"
    return f"partial, {done}, usidx resume goes on"


def _failures(result: ResultRecord) -> str:
    return f", {result.failed} failed" if result.failed else ""


def _axes(side: Layout) -> list[dict[str, Any]]:
    from usidx.model.layout import Grid

    axes = side.dimensions if isinstance(side, Grid) else side.columns
    return [
        {
            "name": each.name,
            "units": each.units,
            "role": side.role,
            "size": int(each.values.shape[0]),
            **_ends(each.values),
        }
        for each in axes
    ]


def _ends(values: Any) -> dict[str, float | None]:
    if values.dtype.kind not in "iuf":
        return {"first": None, "last": None}
    return {"first": float(values[0]), "last": float(values[-1])}


def _described(stored: StoredMain) -> dict[str, Any]:
    spec = stored.spec
    return {
        "store": stored.store,
        "path": spec.path,
        "quantity": spec.quantity,
        "units": spec.units,
        "dtype": str(spec.dtype),
        "shape": spec.shape,
        "nbytes": spec.nbytes,
        "dims": [*_axes(spec.position), *_axes(spec.spectroscopic)],
    }


def _result(result: ResultRecord) -> dict[str, Any]:
    return {
        "group": result.group,
        "tool": result.tool,
        "version": result.version,
        "status": result.status,
        "done": result.done,
        "total": result.total,
        "failed": result.failed,
        "mains": result.mains,
        "parameters": result.parameters,
    }
