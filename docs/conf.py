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
default_role = "literal"

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
html_sidebars: dict[str, list[str]] = {"**": []}
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
    "header_links_before_dropdown": 8,
    "pygments_light_style": "tango",
}

ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.+)$")
# Magnitudes such as |H|, which reStructuredText takes for a reference.
BAR = re.compile(r"(?<![\w`\\])\|(?=\S)")
untouched: dict[str, list[str]] = {}
FIELDS = {"Parameters", "Attributes", "Raises", "Returns"}


def put_meaning_below(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Rewrite "name : meaning", as our docstrings have it, for a parser that expects a type there.

    Types live in annotations; what follows the colon is the meaning.
    """
    if what == "property":
        untouched[name] = list(lines)
    section, result = "", []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if following and set(following) == {"-"}:
            section = line.strip()
        entry = ENTRY.match(line)
        if entry and section in FIELDS:
            result += [entry[1], f"    {entry[2]}"]
        elif ":math:" in line or line.lstrip().startswith((">>>", "...")):
            result.append(line)
        else:
            result.append(BAR.sub(r"\|", line))
    lines[:] = result


def keep_property(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Put a property's docstring back: napoleon takes what stands before a colon for a type."""
    if what == "property":
        lines[:] = untouched.pop(name)


def setup(app: Any) -> None:
    """Hook into Sphinx, before and after napoleon reads the docstrings."""
    app.connect("autodoc-process-docstring", put_meaning_below, priority=400)
    app.connect("autodoc-process-docstring", keep_property, priority=600)
