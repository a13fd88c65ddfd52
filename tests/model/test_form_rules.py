"""How labels and units are written."""

from __future__ import annotations

import pytest

from usidx.model.form_rules import check_form


@pytest.mark.parametrize(
    ("texts", "alone", "essential", "grades"),
    [
        ([b"X", b"Y"], False, True, []),
        (["µm", b"\xc2\xb5m\0\0"], False, True, []),
        ([b"X"], True, True, ["warning"]),
        ([b"X ", b"Y"], False, True, ["warning"]),
        ([b" m\n"], False, False, ["note"]),
        ([b"\xb5m"], False, False, ["warning"]),
        (["\udcb5m"], False, False, ["warning"]),  # as h5py gives bytes that are no UTF-8
    ],
)
def test_texts(texts: list[bytes | str], alone: bool, essential: bool, grades: list[str]) -> None:
    found = list(check_form("/a@labels", texts, alone=alone, essential=essential))
    assert [each.grade for each in found] == grades
    assert all(each.place == "/a@labels" for each in found)
