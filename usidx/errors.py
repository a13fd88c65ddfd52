"""What goes wrong, as one family: every error is a `UsidError` and the built-in people catch.

A message names the object, what was found, what was expected, and the next thing to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UsidError(Exception):
    """The root of every error that usidx raises on purpose."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; a sentence is to be read as a sentence.
        return str(self.args[0]) if self.args else ""


class StoreNotFoundError(UsidError, FileNotFoundError):
    """There is no file or folder at the path."""


class NotUsidError(UsidError, ValueError):
    """The file is of another kind, or holds no Main."""


class MainNotFoundError(UsidError, KeyError):
    """The store has no Main (or result group) of that name."""


class AmbiguousMainError(UsidError, KeyError):
    """The name fits more than one Main."""


class InvalidMainError(UsidError, ValueError):
    """A Main breaks the model: ancillaries that are missing or do not fit."""


class LayoutError(UsidError, ValueError):
    """Rows or columns do not fold as asked, or a dimension has no role."""


class DamagedStoreError(UsidError, OSError):
    """The store cannot be read: truncated, corrupt, or half of a write that cannot be mended."""


class StoreAccessError(UsidError, PermissionError):
    """The store may not be read by this user."""


class UnsafeStoreError(UsidError, PermissionError):
    """The store reaches outside itself, and nobody allowed that."""


class SourceChangedError(UsidError, OSError):
    """The file is no longer what it was when it was opened."""


class ReadOnlyStoreError(UsidError, PermissionError):
    """The store or its folder cannot be written."""


class NoSpaceError(UsidError, OSError):
    """The disk has no room for what was asked."""


class StoreLockedError(UsidError, BlockingIOError):
    """Another process is writing the store."""


class StoreExistsError(UsidError, FileExistsError):
    """The target is there already and overwriting was not asked for."""


class PlanError(UsidError, ValueError):
    """A step cannot be planned: wrong parameters, outputs that are no Main, no room."""


class RecipeError(PlanError):
    """A recipe cannot be read, or asks for what is not there."""


class StepError(UsidError, RuntimeError):
    """A step raised while computing a block."""


class ClusterError(UsidError, ConnectionError):
    """The cluster that was to compute cannot be reached, has no workers, or went away."""


class OptionError(UsidError, ValueError):
    """An argument has a value that is not among the accepted ones."""


class MissingDependencyError(UsidError, ImportError):
    """An optional library is not installed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'x'?)", or nothing when no known name is near."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    if not near:
        return ""
    return " (did you mean " + " or ".join(repr(each) for each in near) + "?)"
