"""How the command line refuses: one line on stderr, with what is near, and an exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import IO, Any

import click

from usidx.errors import UsidError, did_you_mean


class Refusal(click.ClickException):
    """What usidx found wrong, as one line; exit status 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line to stderr."""
        name = click.style("usidx: error:", fg="red")
        click.echo(f"{name} {in_one_line(self.message)}", file=file, err=True)


class Interrupted(click.ClickException):
    """Ctrl-C, with how to go on; exit status 130 as shells have it."""

    exit_code = 130

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line to stderr, after whatever a progress bar left there."""
        click.echo(f"\nusidx: interrupted{self.message}", file=file, err=True)


class Commands(click.Group):
    """A group of commands that suggests near names, and turns errors people cause into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were added, which is that of use."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name; a usage error with near ones where there is none."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            near = did_you_mean(args[0], known) or f"; there are {', '.join(known)}"
            raise click.UsageError(f"there is no command {args[0]!r}{near}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a bug of ours still shows its traceback."""
        with refusing(), _ended_as_interrupted():
            return super().invoke(ctx)


def in_one_line(message: str) -> str:
    """A message whose lists, one below the other in Python, follow each other."""
    sentence = ""
    for line in (each.strip() for each in message.splitlines()):
        if line:
            sentence += line if not sentence else f"{' ' if sentence[-1] in ':.;,' else ', '}{line}"
    return sentence


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn a UsidError, a warning, and Ctrl-C into what the command line says of them."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            yield
    except UsidError as error:
        raise Refusal(str(error)) from error
    except KeyboardInterrupt as stop:
        raise Interrupted(str(stop)) from stop


@contextlib.contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """Have SIGTERM, by which batch systems and shells end programs, do what Ctrl-C does.

    So nothing half written stays behind. Other processes that begin with this handler end at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def stop(*_: Any) -> None:
        if os.getpid() == own:
            raise KeyboardInterrupt
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    name = click.style("usidx: warning:", fg="yellow")
    click.echo(f"{name} {in_one_line(str(message))}", err=True)
