"""What is worth knowing of how a Main folds: sides that are no grid, orders, dependent values."""

from __future__ import annotations

from collections.abc import Iterator

from usidx.model.ancillary import file_labels, paired
from usidx.model.layout import Grid, Layout, Points
from usidx.model.rules import MainFacts, Violation


def check_layouts(
    facts: MainFacts, position: Layout, spectroscopic: Layout
) -> tuple[Violation, ...]:
    """Notes on both sides of a Main, as they were inferred from its ancillaries."""
    found: list[Violation] = []
    for layout in (position, spectroscopic):
        indices, values = (str(each.path) for each in facts.side(layout.role))
        if isinstance(layout, Points):
            grid = f"each cell of a grid once, for an N-D form of the {layout.role} side"
            mend = f"usidx keeps a list of points along {layout.role!r}"
            found.append(Violation(indices, "note", layout.reason, grid, mend))
        else:
            found += _check_order(layout, indices)
            found += _check_counters(layout, indices)
            found += _check_dependent(layout, indices, values)
    for label in sorted(set(file_labels(position)) & set(file_labels(spectroscopic))):
        mend = f"usidx calls the spectroscopic one {label}_spectroscopic"
        place = f"{facts.spectroscopic_indices.path}@labels"
        expected = "other labels than on the position side"
        found.append(Violation(place, "note", repr(label), expected, mend))
    return tuple(found)


def _check_order(layout: Grid, indices: str) -> Iterator[Violation]:
    if layout.order is not None:
        rows = "rows" if layout.role == "position" else "columns"
        order = f"{rows} that are not in the order of the grid"
        mend = "usidx puts each into its cell, pyUSID reshapes them wrongly"
        yield Violation(indices, "note", order, "the order of the grid", mend)


def _check_counters(layout: Grid, indices: str) -> Iterator[Violation]:
    odd = [each.file_label for each in layout.dimensions if each.indices is not None]
    if odd:
        found = f"indices of {', '.join(odd)} that are not 0, 1, 2, ..."
        mend = "nothing is lost: usidx keeps them beside the values"
        yield Violation(indices, "note", found, "indices that count from 0", mend)


def _check_dependent(layout: Grid, indices: str, values: str) -> Iterator[Violation]:
    with_values = {each.name: name for name, each in paired(layout).items()}
    for each in layout.dependent:
        over = " and ".join(each.dims)
        if each.name in with_values:
            others = [name for name in each.dims if name != with_values[each.name]]
            found = f"values of {each.file_label!r} that change with {' and '.join(others)}"
            mend = f"usidx keeps all of them, over {over}; pyUSID shows the first ones only"
            yield Violation(values, "note", found, "one value for each index", mend)
        else:
            found = f"{each.file_label!r} that follows {over}"
            mend = f"usidx keeps it as a coordinate over {over}; pyUSID has no N-D form of it"
            expected = "dimensions that do not depend on each other"
            yield Violation(indices, "note", found, expected, mend)
