"""Says what a demo does: numbered chapters, what came of each, and how long it took."""

from __future__ import annotations

import pathlib
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from usidx.demo.folder import written_aside
from usidx.demo.wording import in_time
from usidx.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from usidx.demo.pictures import Theme

Say = Callable[[str], None]


@dataclass
class Teller:
    """Says what happens in numbered chapters.

    Parameters
    ----------
    say : called with each line
    folder : where pictures and the script go
    dark : whether pictures have dark paper
    """

    say: Say
    folder: pathlib.Path
    dark: bool = False
    number: int = 0
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """One chapter: its title, whatever is told inside, and how long it took."""
        self.number += 1
        self.say(f"\n{self.number}  {title}")
        start = time.perf_counter()
        yield
        self.tell(f"[{in_time(time.perf_counter() - start)}]")

    def tell(self, text: object) -> None:
        """Text, indented under the title."""
        self.say(textwrap.indent(str(text), "   "))

    def run(self, process: Any, again: str, **where: Any) -> Any:
        """The result of a process, with a progress bar; Ctrl-C says that `again` goes on."""
        try:
            return process.run(progress=True, **where)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"; what is done is kept. To go on: {again}") from None

    def draw(self, name: str, slide: Callable[[Theme], Figure]) -> None:
        """Save a slide, or say that it needs matplotlib: the rest of a demo does not."""
        from usidx.demo.pictures import DARK, LIGHT, require_matplotlib

        try:
            require_matplotlib()
        except MissingDependencyError as error:
            self.tell(f"left out: {error}")
            return
        path = self.folder / name
        with written_aside(path) as aside:
            slide(DARK if self.dark else LIGHT).savefig(aside)
        self.tell(f"-> {path}")

    def script(self, lines: str) -> None:
        """The Python that does the same, shown and saved as demo.py."""
        path = self.folder / "demo.py"
        with written_aside(path) as aside:
            aside.write_text(lines, encoding="utf-8")
        self.say(f"\n{self.number + 1}  The same in Python ({path}):\n")
        self.say(textwrap.indent(lines.rstrip(), "       "))

    def end(self) -> None:
        """The last line: where everything is."""
        spent = in_time(time.perf_counter() - self.started)
        self.say(f"\nEverything is in {self.folder.resolve()}  [{spent} in all]")
