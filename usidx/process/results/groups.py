"""The results of a Main as a list that shows itself as a table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from usidx.errors import UsidError
from usidx.model.inputs import in_words
from usidx.process.results.result import ResultGroup
from usidx.stores.progress import progress_of

_LONGEST = 80


class ResultList(list[ResultGroup]):
    """The results of a Main, oldest first; how far each is, is read anew each time it is shown.

    Parameters
    ----------
    store, main : of which they are results
    groups : one for each
    """

    def __init__(self, store: str, main: str, groups: Iterable[ResultGroup]) -> None:
        super().__init__(groups)
        self.store = store
        self.main = main

    def __repr__(self) -> str:
        rows = list(self._rows())
        widths = [max(map(len, column)) for column in zip(*rows)] if rows else []
        lines = [self._title()]
        for row in rows:
            padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            lines.append("  " + "  ".join(padded).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cell = "<td style='text-align:left'>{}</td>"
        rows = "".join(
            f"<tr>{''.join(cell.format(html.escape(text)) for text in row)}</tr>"
            for row in self._rows()
        )
        title = f"<b>{html.escape(self._title())}</b>"
        return f"<div>{title}<table>{rows}</table></div>" if rows else f"<div>{title}</div>"

    def _title(self) -> str:
        count = f"{len(self) or 'no'} result{'' if len(self) == 1 else 's'}"
        return f"<usidx {count} of {self.main!r} in {self.store}>"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for each in self:
            try:
                record = each.record
            except UsidError as error:  # deleted since it was listed
                yield each.path, f"not there: {type(error).__name__}", ""
                continue
            beside = each.path.rpartition("/")[0] == self.main.rpartition("/")[0]
            told = (f"{name}={in_words(value)}" for name, value in record.parameters.items())
            parameters = " ".join(", ".join(told).split())
            if len(parameters) > _LONGEST:
                parameters = parameters[: _LONGEST - 1] + "…"
            yield each.name if beside else each.path, progress_of(record), parameters
