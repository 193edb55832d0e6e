"""A quantity means exactly what the API server takes it for."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.quantities import InvalidQuantity, base_units, parse_quantity, thousandths


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1", 1),
        ("+2", 2),
        ("-3", -3),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("100m", Fraction(1, 10)),
        ("1n", Fraction(1, 10**9)),
        ("3u", Fraction(3, 10**6)),
        ("2k", 2000),
        ("2M", 2_000_000),
        ("2G", 2 * 10**9),
        ("2T", 2 * 10**12),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("1Ei", 2**60),
        ("1E", 10**18),
        ("1e3", 1000),
        ("12E6", 12_000_000),
        ("1E-2", Fraction(1, 100)),
        ("0.1n", Fraction(1, 10**9)),
        ("-0.1n", Fraction(-1, 10**9)),
        ("1e-1000", Fraction(1, 10**9)),
        ("2e4294967299", 2000),
        ("8Ei", 2**63 - 1),
        ("-8Ei", 1 - 2**63),
        ("10E", 10**19),
        ("0" * 900 + "1", 1),
    ],
)
def test_a_quantity_has_its_exact_value(text: str, value: int | Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 2 ",
        "2 ",
        "NaN",
        "Infinity",
        "1_000",
        "0.1K",
        "1ki",
        "1Zi",
        "--1",
        "1.2.3",
        "e",
        "\u0661",
        "1\n",
        "Pi",
        "1e9223372036854775808",
        # These the API server reads, though none means anything; see quantities.py.
        ".",
        "-",
        "Ki",
        "e3",
        "1e1001",
        "1e-1001",
        "9" * 1001,
    ],
)
def test_what_is_no_quantity_is_refused_with_words_that_help(text: str) -> None:
    with pytest.raises(InvalidQuantity, match="write"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("resource", "text", "units"),
    [
        ("memory", "1Gi", 2**30),
        ("memory", "1m", 1),
        ("cpu", "100m", 100),
        ("cpu", "1n", 1),
        ("nvidia.com/gpu", "2", 2000),
    ],
)
def test_an_allocation_is_whole_base_units_rounded_up(resource: str, text: str, units: int) -> None:
    assert base_units(resource, thousandths(text)) == units


def test_a_negative_allocation_is_refused() -> None:
    with pytest.raises(InvalidQuantity, match="negative"):
        thousandths("-1")


@given(st.integers(0, 2**42), st.sampled_from(["n", "u", "m", "k", "M", "Ki", "Mi"]))
def test_no_precision_is_lost(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == number * parse_quantity(f"1{suffix}")
