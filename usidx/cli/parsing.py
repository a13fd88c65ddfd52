"""NAME=VALUE on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def parsed(settings: Sequence[str], hint: str = "--set") -> dict[str, Any]:
    """Values by their names, of NAME=VALUE texts; a VALUE that is no JSON is text.

    Parameters
    ----------
    hint : the option that they were given by

    Raises
    ------
    click.BadParameter : for what is no NAME=VALUE, and for a name that is there twice
    """
    found: dict[str, Any] = {}
    for each in settings:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(
                f"{each!r} is not NAME=VALUE, such as along=Frequency", param_hint=f"'{hint}'"
            )
        if name in found:
            raise click.BadParameter(f"{name!r} is set twice", param_hint=f"'{hint}'")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
