"""Draw the pictures of the documentation, as SVG: `python docs/draw.py`.

They are committed, so that building the documentation needs nothing but Sphinx. Uses the standard
library alone.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

PICTURES = pathlib.Path(__file__).resolve().parent / "pictures"
INK, SOFT, LINE, PAPER = "#1f2937", "#64748b", "#cbd5e1", "#ffffff"
POSITION, SPECTRAL, RESULT = "#0f766e", "#b45309", "#6d28d9"
ROWS = ("#134e4a", "#0f766e", "#14a38b", "#5fd0b5", "#a7ecd8", "#d6f7ee")
FONT = "font-family='Inter, Helvetica, Arial, sans-serif'"
MONO = "font-family='DejaVu Sans Mono, Menlo, Consolas, monospace'"


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 13,
    fill: str = INK,
    anchor: str = "start",
    weight: int = 400,
    mono: bool = False,
    turn: float = 0,
) -> str:
    """One line of words at its baseline."""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    turned = f" transform='rotate({turn} {x} {y})'" if turn else ""
    return (
        f"<text x='{x}' y='{y}' font-size='{size}' fill='{fill}' text-anchor='{anchor}' "
        f"font-weight='{weight}' {MONO if mono else FONT}{turned}>{words}</text>"
    )


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str = PAPER,
    stroke: str = LINE,
    radius: float = 0,
    line: float = 1,
    dashed: bool = False,
) -> str:
    """A rectangle."""
    dash = " stroke-dasharray='4 3'" if dashed else ""
    return (
        f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='{radius}' fill='{fill}' "
        f"stroke='{stroke}' stroke-width='{line}'{dash}/>"
    )


def path(points: str, *, stroke: str = SOFT, line: float = 1.4, head: bool = False) -> str:
    """A line along SVG path commands, with an arrow head where asked for."""
    end = " marker-end='url(#head)'" if head else ""
    return f"<path d='{points}' fill='none' stroke='{stroke}' stroke-width='{line}'{end}/>"


def polygon(points: Sequence[tuple[float, float]], *, fill: str, stroke: str = PAPER) -> str:
    """A filled polygon."""
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f"<polygon points='{corners}' fill='{fill}' stroke='{stroke}' stroke-width='1'/>"


def save(name: str, width: int, height: int, title: str, parts: Sequence[str]) -> None:
    """Write one picture."""
    head = (
        "<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' "
        f"markerHeight='8' orient='auto'><path d='M0 0 L8 4 L0 8 z' fill='{SOFT}'/></marker></defs>"
    )
    lines = "\n".join(parts)
    PICTURES.joinpath(f"{name}.svg").write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
        f"width='{width}' height='{height}' role='img'>\n<title>{title}</title>\n"
        f"{head}\n{lines}\n</svg>\n"
    )


def spectrum(x: float, y: float, width: float, height: float, centre: float, colour: str) -> str:
    """A resonance as a small curve."""
    steps = 28
    heights = [
        height * (0.08 + 0.9 / (1 + ((step / steps - centre) / 0.09) ** 2))
        for step in range(steps + 1)
    ]
    points = " L".join(
        f"{x + width * step / steps:.1f} {y - high:.1f}" for step, high in enumerate(heights)
    )
    return path(f"M{points}", stroke=colour, line=1.6)


def fold() -> None:
    """A scan, its 2-D form in the file, its N-D form in xarray."""
    save(
        "fold",
        860,
        300,
        "A scan of 2 x 3 positions, the 6 x 5 matrix in the file, and the 2 x 3 x 5 DataArray",
        [*_scan(20, 96), *_matrix(330, 84), *_cube(640, 120)],
    )


def _scan(left: float, top: float) -> Iterator[str]:
    yield text(left, 30, "What was measured", size=15, weight=600)
    yield text(left, 50, "a spectrum at each of 2 x 3 positions", fill=SOFT)
    for row in range(2):
        for column in range(3):
            number = 3 * row + column
            x, y = left + 28 + 62 * column, top + 70 * row
            yield box(x, y, 56, 64, fill="#f8fafc", radius=4)
            yield spectrum(x + 5, y + 56, 46, 44, 0.25 + 0.1 * number, ROWS[min(number, 3)])
            yield text(x + 6, y + 14, str(number), size=11, fill=ROWS[min(number, 2)], weight=600)
    yield text(left + 120, top + 162, "X, fastest", anchor="middle", fill=POSITION)
    yield path(f"M{left + 34} {top + 146} H{left + 205}", stroke=POSITION, head=True)
    yield text(left + 4, top + 68, "Y, slowest", anchor="middle", fill=POSITION, turn=-90)
    yield path(f"M{left + 16} {top + 4} V{top + 130}", stroke=POSITION, head=True)
    yield path(f"M{left + 236} {top + 70} H{left + 276}", head=True)


def _matrix(left: float, top: float) -> Iterator[str]:
    yield text(left, 30, "What the file holds", size=15, weight=600)
    yield text(left, 50, "2-D: positions x spectroscopic", fill=SOFT)
    for row in range(6):
        y = top + 24 * row
        yield text(left - 8, y + 17, str(row), size=11, anchor="end", fill=POSITION, weight=600)
        for column in range(5):
            yield box(left + 34 * column, y, 34, 24, fill=ROWS[row], stroke=PAPER)
    yield text(left + 85, top + 166, "Frequency", anchor="middle", fill=SPECTRAL)
    yield path(f"M{left} {top + 152} H{left + 170}", stroke=SPECTRAL, head=True)
    yield text(
        left + 85, top + 196, "rows in the order of the scan", anchor="middle", size=12, fill=SOFT
    )
    yield path(f"M{left + 194} {top + 82} H{left + 250}", head=True)
    yield text(left + 222, top + 72, "open", anchor="middle", size=12, mono=True)
    yield path(f"M{left + 250} {top + 100} H{left + 194}", head=True)
    yield text(left + 222, top + 118, "to_2d", anchor="middle", size=12, mono=True)


def _cube(left: float, top: float) -> Iterator[str]:
    yield text(left - 16, 30, "What you work with", size=15, weight=600)
    yield text(left - 16, 50, "N-D: (Y, X, Frequency), labelled, lazy", fill=SOFT)
    side, lean, lift = 36.0, 20.0, 15.0
    for row in range(2):
        for column in range(3):
            x, y = left + side * column, top + 30 + side * row
            yield box(x, y, side, side, fill=ROWS[3 * row + column], stroke=PAPER)
    for step in range(5):
        for column in range(3):
            x, y = left + side * column + lean * step, top + 30 - lift * step
            corners = [(x, y), (x + side, y), (x + side + lean, y - lift), (x + lean, y - lift)]
            yield polygon(corners, fill=ROWS[column])
        for row in range(2):
            x, y = left + 3 * side + lean * step, top + 30 + side * row - lift * step
            corners = [(x, y), (x + lean, y - lift), (x + lean, y - lift + side), (x, y + side)]
            yield polygon(corners, fill=ROWS[3 * row + 2])
    yield text(left + 1.5 * side, top + 126, "X  [um]", anchor="middle", fill=POSITION)
    yield text(left - 10, top + 68, "Y  [um]", anchor="middle", fill=POSITION, turn=-90)
    yield text(
        left + 3 * side + 64, top + 74, "Frequency  [Hz]", fill=SPECTRAL, anchor="middle", turn=-37
    )


def ancillaries() -> None:
    """A Main and the four matrices that say what its rows and columns are."""
    position = [(y, x) for y in range(2) for x in range(3)]
    parts = [
        text(20, 30, "A Main and its four ancillaries", size=15, weight=600),
        text(20, 50, "each row is a position, each column a spectroscopic value", fill=SOFT),
    ]
    parts += _table(
        40, 170, "Position_Indices", [[str(x), str(y)] for y, x in position], "X Y", POSITION
    )
    values = [[f"{0.5 * x:g}", f"{0.5 * y:g}"] for y, x in position]
    parts += _table(180, 170, "Position_Values", values, "X Y", POSITION, "um")
    parts += _row(350, 84, "Spectroscopic_Indices", [str(i) for i in range(5)], "Frequency")
    parts += _row(
        350, 124, "Spectroscopic_Values", ["330", "332", "334", "336", "338"], "Frequency [kHz]"
    )
    for row in range(6):
        for column in range(5):
            parts.append(
                box(350 + 44 * column, 190 + 24 * row, 44, 24, fill=ROWS[row], stroke=PAPER)
            )
    parts += [
        text(460, 356, "Raw_Data", anchor="middle", size=14, weight=600, mono=True),
        text(460, 376, "quantity = 'Amplitude', units = 'pm'", anchor="middle", size=12, fill=SOFT),
        path("M286 262 H342", stroke=POSITION, head=True),
        text(600, 236, "Four references on the", size=12, fill=SOFT),
        text(600, 252, "Main's dataset lead to them;", size=12, fill=SOFT),
        text(600, 268, "several Mains may share them.", size=12, fill=SOFT),
        text(600, 300, "usidx reads them once, works out", size=12, fill=SOFT),
        text(600, 316, "order, sizes and what is a grid,", size=12, fill=SOFT),
        text(600, 332, "and gives you coordinates.", size=12, fill=SOFT),
    ]
    save("ancillaries", 860, 400, "A Main with its four ancillary matrices", parts)


def _table(
    left: float,
    top: float,
    name: str,
    rows: list[list[str]],
    head: str,
    colour: str,
    units: str = "",
) -> Iterator[str]:
    yield text(left + 44, top - 12, name, anchor="middle", size=12, mono=True, fill=colour)
    for column, label in enumerate(head.split()):
        words = f"{label} [{units}]" if units else label
        yield text(left + 22 + 44 * column, top + 10, words, anchor="middle", size=11, fill=SOFT)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            x, y = left + 44 * column, top + 20 + 24 * number
            yield box(x, y, 44, 24, fill="#f0fdfa", stroke="#99f6e4")
            yield text(x + 22, y + 16, cell, anchor="middle", size=12, mono=True)


def _row(left: float, top: float, name: str, cells: list[str], label: str) -> Iterator[str]:
    for column, cell in enumerate(cells):
        yield box(left + 44 * column, top, 44, 24, fill="#fffbeb", stroke="#fcd34d")
        yield text(left + 44 * column + 22, top + 16, cell, anchor="middle", size=12, mono=True)
    yield text(left + 232, top + 12, name, size=12, mono=True, fill=SPECTRAL)
    yield text(left + 232, top + 26, label, size=11, fill=SOFT)


def groups() -> None:
    """A file with a measurement, two channels and a result group."""
    parts = [
        text(20, 30, "Where things are in a store", size=15, weight=600),
        text(
            20, 50, "the same tree in an HDF5 file, in a Zarr folder and in xr.DataTree", fill=SOFT
        ),
    ]
    lines = (
        (0, "scan.h5", INK, ""),
        (1, "Measurement_000", INK, "settings of the instrument as attributes"),
        (2, "Channel_000", INK, "one detector"),
        (3, "Raw_Data", POSITION, "a Main: 256 x 256 x 512"),
        (3, "Raw_Data-SHO_Fit_000", RESULT, "a result group: <Main>-<Tool>_000"),
        (4, "Fit", RESULT, "a Main of its own: 256 x 256, fields Amplitude, Q, ..."),
        (4, "completed_positions", SOFT, "one byte for each position: 1 is done"),
        (4, "attributes", SOFT, "tool, version, parameters, source, when, where"),
        (2, "Channel_001", INK, "another detector, sharing the ancillaries"),
        (3, "Raw_Data", POSITION, "a Main"),
    )
    top, step, indent = 90, 30, 28
    for number, (depth, name, colour, note) in enumerate(lines):
        x, y = 40 + indent * depth, top + step * number
        if depth:
            above = max(n for n in range(number) if lines[n][0] == depth - 1)
            turn = x - indent + 6
            parts.append(path(f"M{turn} {top + step * above + 7} V{y - 4} H{x - 6}", stroke=LINE))
        weight = 600 if colour in (POSITION, RESULT) else 400
        parts.append(text(x, y, name, mono=True, fill=colour, weight=weight))
        parts.append(text(430, y, note, size=12, fill=SOFT))
    back = top + step * 4 - 4
    parts += [
        path(
            f"M298 {back} C 350 {back} 350 {back - step} 204 {back - step}",
            stroke=RESULT,
            head=True,
        ),
        text(344, back - 12, "source_000", size=11, fill=RESULT, mono=True),
    ]
    save("groups", 860, 390, "Groups in a USID store", parts)


def run() -> None:
    """What a run does to the file: two short transactions, and blocks in between."""
    left, width, y = 40.0, 780.0, 150.0
    parts = [
        text(20, 30, "A run, from the file's point of view", size=15, weight=600),
        text(20, 50, "the source's bytes are never touched; metadata changes twice", fill=SOFT),
        path(f"M{left} {y + 80} H{left + width}", head=True),
        text(left + width, y + 100, "time", anchor="end", size=12, fill=SOFT),
    ]
    parts += _stage(left, y, 150, RESULT, "claim", "one transaction:", "group, space, ancillaries")
    blocks = 6
    for number in range(blocks):
        x = left + 176 + 72 * number
        done = number < 4
        parts.append(
            box(x, y, 62, 60, fill="#ecfdf5" if done else "#f8fafc", radius=4, dashed=not done)
        )
        if done:
            parts.append(text(x + 31, y + 26, "write", anchor="middle", size=12))
            parts.append(text(x + 31, y + 44, "then mark", anchor="middle", size=11, fill=POSITION))
        else:
            parts.append(text(x + 31, y + 35, "not yet", anchor="middle", size=12, fill=SOFT))
    parts += _stage(
        left + 616, y, 150, RESULT, "complete", "one transaction:", "all marked, status"
    )
    cut = left + 176 + 72 * 4 - 5
    parts += [
        path(f"M{cut} {y - 18} V{y + 96}", stroke="#dc2626", line=2),
        text(
            cut,
            y - 26,
            "kill -9, a crash, out of memory",
            anchor="middle",
            size=12,
            fill="#dc2626",
        ),
        text(cut, y + 116, "what is marked is right and stays;", anchor="middle", size=12),
        text(cut, y + 132, "the next run computes the rest", anchor="middle", size=12),
    ]
    save("run", 860, 300, "What a run does to a file", parts)


def _stage(
    x: float, y: float, width: float, colour: str, name: str, first: str, second: str
) -> Iterator[str]:
    yield box(x, y, width, 60, fill="#f5f3ff", stroke=colour, radius=4)
    yield text(x + width / 2, y + 20, name, anchor="middle", weight=600, fill=colour, mono=True)
    yield text(x + width / 2, y + 37, first, anchor="middle", size=11, fill=SOFT)
    yield text(x + width / 2, y + 51, second, anchor="middle", size=11, fill=SOFT)


def logo() -> None:
    """A grid of positions, one of them opened into a spectrum."""
    parts = []
    for row in range(3):
        for column in range(3):
            fill = SPECTRAL if (row, column) == (1, 1) else ROWS[(row + column) % 4 + 1]
            parts.append(
                box(4 + 13 * column, 6 + 13 * row, 11, 11, fill=fill, stroke="none", radius=2)
            )
    parts.append(spectrum(48, 42, 30, 36, 0.5, SPECTRAL))
    parts.append(text(84, 36, "usidx", size=30, weight=700, fill=POSITION))
    save("logo", 174, 50, "usidx", parts)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for draw in (fold, ancillaries, groups, run, logo):
        draw()
