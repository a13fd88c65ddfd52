"""How labels and units are written, and what is left from programs before pyUSID."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from usidx.model.rules import Grade, Violation


def check_form(
    place: str, texts: Sequence[bytes | str], *, alone: bool, essential: bool
) -> Iterator[Violation]:
    """What other programs than usidx stumble over in the texts of one attribute.

    Parameters
    ----------
    place : path of the dataset, with "@" and the name of the attribute
    texts : as they are stored
    alone : whether it is one text by itself, and no list
    essential : whether the texts are names by which something is found

    Examples
    --------
    >>> [each.grade for each in check_form("/a@labels", [b"X ", b"Y"], alone=False, essential=True)]
    ['warning']
    """
    raw = [
        each.encode("utf-8", "surrogateescape") if isinstance(each, str) else each for each in texts
    ]
    readable = [each.rstrip(b"\0").decode("utf-8", "replace") for each in raw]
    if alone:
        mend = f"nothing is lost here, but pyUSID fails on it; store it as the list {readable}"
        yield Violation(
            place,
            "warning",
            f"the text {readable[0]!r} by itself",
            "a list of texts, one for each dimension",
            mend,
        )
    if any(not _is_utf8(each) for each in raw):
        mend = "usidx takes them for Latin-1; store them again as UTF-8"
        found = f"{readable}, which are no UTF-8"
        yield Violation(place, "warning", found, "texts in ASCII or UTF-8", mend)
    elif any(each != each.strip() for each in readable):
        plain = [each.strip() for each in readable]
        mend = "usidx takes them without" + (", pyUSID does not find them" if essential else "")
        grade: Grade = "warning" if essential else "note"
        yield Violation(place, grade, str(readable), f"{plain}, without blanks around", mend)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def legacy_program(place: str, version: str) -> Violation:
    """The note on a file that a program before pyUSID has written."""
    mend = "nothing needs to be done: usidx reads what it wrote"
    return Violation(place, "note", f"written by pycroscopy {version}".strip(), "pyUSID", mend)


def legacy_name(place: str) -> Violation:
    """The note on a measurement group with the name of old."""
    mend = "nothing needs to be done: usidx finds Mains wherever they are"
    return Violation(place, "note", "a group named Raw_Measurement", "Measurement_000", mend)


def legacy_marking(place: str, names: Sequence[str]) -> Violation:
    """The note on dimensions that are marked as incomplete in the way of old."""
    found = f"{', '.join(names)} marked as incomplete by an attribute of old"
    mend = "nothing needs to be done: usidx finds out from the indices"
    return Violation(f"{place}@incomplete_dimensions", "note", found, "the attribute type", mend)


def unreadable(place: str, why: str) -> Violation:
    """The warning on an attribute that cannot be read."""
    mend = "everything else is read; write it again if you know what it was"
    return Violation(place, "warning", f"something that cannot be read ({why})", "a value", mend)


def unnamed(place: str) -> Violation:
    """The error of an object that is listed in its group, and cannot be opened."""
    found = "an object that its name does not lead to"
    return Violation(place, "error", found, "an object", "get the original again")


def dead_link(place: str, target: str) -> Violation:
    """The note on a link that leads to nothing."""
    mend = "remove it, or put back what it led to"
    return Violation(place, "note", f"a link to {target!r}, where nothing is", "an object", mend)


def lost_main(place: str) -> Violation:
    """The note on a dataset that may be a Main without its references."""
    return Violation(
        place,
        "note",
        "2-D values with a quantity and units, but no references to ancillaries",
        "the four references of a Main, if it is one",
        "add them, or read it as it is with h5py",
    )


def never_written(place: str) -> Violation:
    """The note on a Main without values."""
    return Violation(
        place,
        "note",
        "no stored values: all of it reads as the fill value",
        "values that were measured or computed",
        "compute it again, if a run was interrupted before it",
    )


def no_main(what: str) -> Violation:
    """The error of a store without any Main."""
    return Violation(
        "/",
        "error",
        what,
        "at least one Main: 2-D values that refer to the indices and values of their dimensions",
        "make one of an array with usidx.from_array, or open the file with the program that wrote "
        "it",
    )
