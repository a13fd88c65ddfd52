"""The Mains of a store as a sequence that shows itself as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import overload

from usidx.stores.base import MainEntry

COLUMNS = ("path", "kind", "dims", "shape", "quantity", "units", "dtype", "status")


class MainTable(Sequence[MainEntry]):
    """The Mains of a store, in the order of the store.

    Rows have .path, .dims, .shape, .quantity, .units, .dtype, .kind and .status.

    Parameters
    ----------
    store : path of the store, shown above the table
    entries : one for each Main
    """

    def __init__(self, store: str, entries: Iterable[MainEntry]) -> None:
        self.store = store
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, key: int) -> MainEntry: ...
    @overload
    def __getitem__(self, key: slice) -> MainTable: ...
    def __getitem__(self, key: int | slice) -> MainEntry | MainTable:
        if isinstance(key, slice):
            return MainTable(self.store, self._entries[key])
        return self._entries[key]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MainTable):
            return NotImplemented
        return (self.store, self._entries) == (other.store, other._entries)

    __hash__ = None  # type: ignore[assignment]

    @property
    def paths(self) -> tuple[str, ...]:
        """Path of each Main."""
        return tuple(each.path for each in self._entries)

    def where(self, condition: Callable[[MainEntry], bool]) -> MainTable:
        """The rows for which `condition` holds."""
        return MainTable(self.store, filter(condition, self._entries))

    def __repr__(self) -> str:
        cells = [COLUMNS, *(row_texts(each) for each in self._entries)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [self._title()]
        for row in cells:
            padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            lines.append("  " + "  ".join(padded).rstrip())
        return "\n".join(lines if self._entries else lines[:1])

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in COLUMNS)
        rows = (
            "".join(f"<td style='text-align:left'>{escape(text)}</td>" for text in row_texts(each))
            for each in self._entries
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<div><b>{escape(self._title())}</b>{table if self._entries else ''}</div>"

    def _title(self) -> str:
        count = len(self._entries)
        return f"{count} Main{'' if count == 1 else 's'} in {self.store}"


def row_texts(entry: MainEntry) -> tuple[str, ...]:
    """What a table shows of one Main, in the order of `COLUMNS`."""
    fields = entry.dtype.names
    dtype = f"({', '.join(fields)})" if fields else str(entry.dtype)
    return (
        entry.path,
        entry.kind,
        ", ".join(entry.dims),
        " x ".join(map(str, entry.shape)),
        entry.quantity,
        entry.units,
        dtype,
        entry.status,
    )
