"""C text: floats are exact, integers have their type, and no text of a user escapes a comment or an identifier."""

from __future__ import annotations

import keyword
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.exporters.c import literals


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_keep_every_bit(value: float) -> None:
    text = literals.number(np.float32(value))
    assert text.endswith("f")
    assert np.float32(float.fromhex(text[:-1])).tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_what_is_no_float32_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite float32"), np.errstate(over="ignore"):
        literals.number(value)


def test_the_smallest_int32_is_no_overflowing_literal() -> None:
    assert literals.number(-(2**31)) == "(-2147483647 - 1)"
    assert literals.number(2**40) == "INT64_C(1099511627776)"


@given(st.text(max_size=300))
def test_names_become_identifiers(text: str) -> None:
    name = literals.identifier(text)
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,60}", name) and not keyword.iskeyword(name)


@given(st.text(alphabet="*/\\?\n\r\t =a'\"\u2028", max_size=60))
def test_comments_cannot_be_left(text: str) -> None:
    made = literals.comment(text)
    assert "*/" not in made and "/*" not in made and "\\" not in made and "??" not in made
    assert made.isascii() and made.isprintable() and len(made) <= 200


def test_an_empty_array_is_still_an_array() -> None:
    assert literals.array("a", np.zeros(0, np.uint16)).split() == [
        "static",
        "const",
        "uint16_t",
        "a[]",
        "=",
        "{",
        "0,",
        "};",
    ]
