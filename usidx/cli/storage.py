"""`--storage-option` and `--storage-options`: how what is behind a URL is reached."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from usidx.errors import OptionError

# Text whatever it looks like: a password of digits is no number.
_SECRETS = ("key", "secret", "token", "password", "passwd", "username", "user", "credential")


def storage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The two options, for commands that take URLs; the command itself knows nothing of them."""

    @functools.wraps(command)
    def reached(storage: tuple[str, ...], storage_file: str | None, **given: Any) -> Any:
        if not storage and storage_file is None:
            return command(**given)
        from usidx.stores.remote.reaching import reaching

        with reaching(_told(storage, storage_file, _urls_in(given))):
            return command(**given)

    each = click.option(
        "--storage-option", "storage", multiple=True, metavar="KEY=VALUE",
        help="How the URLs of this line are reached (fsspec): profile=lab, anon=true, "
        "client_kwargs.endpoint_url=https://... May be repeated. Secrets are better in a file.",
    )  # fmt: skip
    file = click.option(
        "--storage-options", "storage_file", metavar="FILE",
        help="The same in a file of JSON or YAML, which may have them by URLs: "
        '{"s3://lab": {"key": ...}}. Those hold for sources of results, too.',
    )  # fmt: skip
    return each(file(reached))


def _told(
    texts: tuple[str, ...], file: str | None, urls: list[str]
) -> dict[str, Mapping[str, Any]]:
    """The options by the URL below which they hold."""
    from usidx.stores.remote.reaching import place_of
    from usidx.stores.remote.url import is_url

    own: dict[str, Any] = {}
    told: dict[str, Mapping[str, Any]] = {}
    if file is not None:
        found = _read(file)
        told = {name: each for name, each in found.items() if is_url(name)}
        own = {name: each for name, each in found.items() if not is_url(name)}
        if not all(isinstance(each, dict) for each in told.values()):
            raise OptionError(f"{file!r} has a URL without options in {{}} behind it")
    for number, text in enumerate(texts, start=1):
        _put(own, text, number)
    if own and not urls:
        raise click.UsageError(
            "--storage-option is for the URLs of the line, and there are none; for sources that "
            'a result names write {"s3://bucket": {...}} into a file for --storage-options'
        )
    for place in map(place_of, urls):
        told[place] = {**told.get(place, {}), **own}
    return told


def _put(options: dict[str, Any], text: str, number: int) -> None:
    """Add KEY=VALUE, or KEY.KEY=VALUE, to options."""
    name, equals, value = text.partition("=")
    *above, last = name.strip().split(".")
    if not equals or not all((*above, last)):
        # what was written there may be a secret
        raise click.UsageError(f"--storage-option number {number} is not KEY=VALUE")
    for each in above:
        options = options.setdefault(each, {})
        if not isinstance(options, dict):
            raise click.UsageError(f"--storage-option {name} is below an option that has a value")
    options[last] = value if any(each in last.lower() for each in _SECRETS) else _value(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(file: str) -> dict[str, Any]:
    """What a file of options says; errors name the file and never what is in it."""
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"the storage options {file!r} cannot be read ({error})") from error
    found = _parsed(file, text)
    if not isinstance(found, dict):
        raise OptionError(f"the storage options {file!r} are no {{name: value}}")
    return found


def _parsed(file: str, text: str) -> Any:
    if not file.endswith((".yaml", ".yml")):
        try:
            return json.loads(text)
        except ValueError as error:
            raise OptionError(f"the storage options {file!r} are no JSON ({error})") from error
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise OptionError(f"the storage options {file!r} are no YAML") from None


def _urls_in(given: Mapping[str, Any]) -> list[str]:
    """The URLs among the arguments of a command, also in NAME=URL."""
    return list(dict.fromkeys(_urls(given.values())))


def _urls(values: Any) -> Iterator[str]:
    from usidx.stores.remote.url import is_url

    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _urls(value)
        elif isinstance(value, str):
            yield from (each for each in (value, value.partition("=")[2]) if is_url(each))
