"""What `validate` found, as an object, as text and as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from usidx.model.rules import Findings, Grade, Violation

_MOST_SHOWN = 200


@dataclass(frozen=True)
class Report:
    """Everything in a store that is not as USID asks.

    An error keeps a Main from being opened, or all of the store. A warning is something that usidx
    reads around and others may not. A note is worth knowing.

    Parameters
    ----------
    path : of the store
    findings : what is in it, and what is wrong with that
    """

    path: str
    findings: Findings

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def violations(self) -> tuple[Violation, ...]:
        """All of them, in the order of the store."""
        return self.findings.violations

    @property
    def errors(self) -> tuple[Violation, ...]:
        """What keeps a Main, or all of the store, from being opened."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Violation, ...]:
        """What usidx reads around, and others may not."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[Violation, ...]:
        """What is worth knowing."""
        return self._of("note")

    def _of(self, grade: Grade) -> tuple[Violation, ...]:
        return tuple(each for each in self.violations if each.grade == grade)

    def __str__(self) -> str:
        return "\n".join([self.headline(), *map(in_lines, self.violations[:_MOST_SHOWN])])

    __repr__ = __str__

    def headline(self) -> str:
        """The numbers, in one line."""
        counts = {
            "error": len(self.errors),
            "warning": len(self.warnings),
            "note": len(self.notes),
        }
        told = [_counted(number, what) for what, number in counts.items() if number]
        mains, results = len(self.findings.mains), len(self.findings.results)
        held = f"{_counted(mains, 'Main')}, {_counted(results, 'result group')}"
        shown = printable(self.path)
        return f"{shown}: {', '.join(told) or 'nothing is wrong'} ({held})"

    def to_dict(self) -> Mapping[str, Any]:
        """The same as plain data, ready for JSON."""
        return {
            "path": self.path,
            "ok": self.ok,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "notes": len(self.notes),
            "mains": list(self.findings.mains),
            "results": list(self.findings.results),
            "violations": [
                {
                    "place": each.place,
                    "grade": each.grade,
                    "found": each.found,
                    "expected": each.expected,
                    "mend": each.mend,
                }
                for each in self.violations
            ],
        }


def in_lines(violation: Violation) -> str:
    """One violation as four lines of text."""
    indent = " " * 10
    return (
        f"{violation.grade:<8}  {printable(violation.place)}\n"
        f"{indent}found     {printable(violation.found)}\n"
        f"{indent}expected  {printable(violation.expected)}\n"
        f"{indent}to mend   {printable(violation.mend)}"
    )


def printable(text: str) -> str:
    """`text` on one line, without what moves the cursor of a terminal: names come from the file.

    Examples
    --------
    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "replace").decode("ascii")
        for each in text
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
