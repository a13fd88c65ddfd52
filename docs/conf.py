"""How the documentation is built: offline, with every example executed, and warnings as errors."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "usidx"
author = "usidx developers"
copyright = "2026, usidx developers"
release = version_of("usidx")
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "commands",
    "mathml",
]
exclude_patterns = ["_build", "jupyter_execute", "extensions"]
nitpicky = False

# Notebook pages run each time: what a page shows is what the code does now.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 120
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "usidx"
html_static_path = ["_static"]
html_css_files = ["usidx.css"]
html_logo = "pictures/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options: dict[str, Any] = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}

ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.+)$")
FIELDS = {"Parameters", "Attributes", "Other Parameters"}


def put_meaning_below(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Rewrite "name : meaning", as our docstrings have it, for a parser that expects a type there.

    Types live in annotations; what follows the colon is the meaning.
    """
    section, result = "", []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if following and set(following) == {"-"}:
            section = line.strip()
        entry = ENTRY.match(line)
        if entry and section in FIELDS:
            result += [entry[1], f"    {entry[2]}"]
        else:
            result.append(line)
    lines[:] = result


def setup(app: Any) -> None:
    """Hook into Sphinx, before napoleon reads the docstrings."""
    app.connect("autodoc-process-docstring", put_meaning_below, priority=400)
