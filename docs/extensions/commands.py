"""The `commands` directive: the help of a click group and of each of its commands, as it is now."""

from __future__ import annotations

import importlib
from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive


class Commands(Directive):
    """A section for each command of the group "module:name"."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The sections."""
        module, _, name = self.arguments[0].partition(":")
        group: click.Group = getattr(importlib.import_module(module), name)
        context = click.Context(group, info_name="usidx", max_content_width=88)
        sections: list[nodes.Node] = []
        for command_name in group.list_commands(context):
            command = group.get_command(context, command_name)
            if command is None or command.hidden:
                continue
            inner = click.Context(command, info_name=command_name, parent=context)
            inner.max_content_width = inner.terminal_width = 88
            section = nodes.section(ids=[f"usidx-{command_name}"])
            section += nodes.title("", f"usidx {command_name}")
            words = command.get_help(inner)
            section += nodes.literal_block(words, words, language="text")
            sections.append(section)
        return sections


def setup(app: Any) -> dict[str, Any]:
    """Make the directive known to Sphinx."""
    app.add_directive("commands", Commands)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
