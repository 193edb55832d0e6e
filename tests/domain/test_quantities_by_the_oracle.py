"""A quantity means exactly what Kubernetes' own parser takes it for."""

import re
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from hubquota.domain.quantities import InvalidQuantity, base_units, parse_quantity, thousandths
from tests.testbed.oracle import Oracle

pytestmark = pytest.mark.oracle

#: The program answers at once, but the first question may build it.
examples: Final = settings(max_examples=1000, deadline=None)

digits = st.text("0123456789", max_size=25)
numbers = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "+", "-"]),
    st.one_of(digits, st.just("0")),
    st.sampled_from(["", "."]),
    digits,
)
known_suffixes = st.sampled_from(["", *"numkMGTPE", *(f"{letter}i" for letter in "KMGTPE")])
# Beyond 1,000 we refuse on purpose, and Kubernetes' parser itself computes for ever on some of them.
exponents = st.builds(
    "{}{}{:0{}d}".format,
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.one_of(
        st.integers(0, 40),
        st.integers(0, 1000),
        st.builds(lambda wraps, rest: wraps * 2**32 + rest, st.integers(1, 2**33), st.integers(-20, 20)),
    ),
    st.integers(1, 8),
)
near_misses = st.sampled_from(
    ["K", "ki", "mi", "Zi", "Y", "i", "e", "e+", "E-", "e1.5", "Ee3", "nn", "Kii", "1", "k1", " "]
)
written = st.builds(str.__add__, numbers, st.one_of(known_suffixes, exponents, near_misses))
long_ones = st.builds(
    lambda digit, count, dot, suffix: digit * count + dot + suffix,
    st.sampled_from("019"),
    st.integers(1, 900),
    st.sampled_from(["", ".", ".5", ".0000000001"]),
    known_suffixes,
)


@st.composite
def mistyped(draw: st.DrawFn) -> str:
    """A quantity with one character put in, left out or replaced."""
    text: str = draw(written)
    at = draw(st.integers(0, len(text)))
    typed: str = draw(st.sampled_from(["", *"0123456789+-.eEinumkKMGTP_, \t\n\0"]))
    return text[:at] + typed + text[at + draw(st.integers(0, 1)) :]


amounts = st.builds(
    "{}{}{}".format,
    st.integers(0, 10**6),
    st.builds(str.__add__, st.just("."), st.text("0123456789", max_size=20)) | st.just(""),
    st.sampled_from(["", *"numkMG", "Ki", "Mi", "Gi", "e3", "E-4", "e-20"]),
)
soup = st.text("0123456789+-.eEinumkKMGTP", max_size=8)
texts = st.one_of(written, long_ones, mistyped(), soup, st.text(max_size=5))


def within_our_bounds(text: str) -> bool:
    """Whether none of the refusals that quantities.py makes on purpose applies."""
    exponent = re.search(r"[eE]([+-]?[0-9]+)$", text)
    return bool(re.match(r"[+-]?\.?[0-9]", text)) and (exponent is None or abs(in_32_bits(int(exponent[1]))) <= 1000)


def in_32_bits(exponent: int) -> int:
    """What a signed integer of 32 bits keeps of a larger one."""
    return int.from_bytes((exponent % 2**32).to_bytes(4), signed=True)


def ours(text: str) -> Fraction | None:
    """What we read; None: we refuse it."""
    try:
        return parse_quantity(text)
    except InvalidQuantity:
        return None


@examples
@given(texts)
@example("1.500")
@example("5.Ki")
@example("0.0000000001Ki")
@example("7.9999999999999999999Ei")
@example("+.0e0001000")
@example("1e9223372036854775807")
@example("1e9223372036854775808")
@example("1e-9223372036854775808")
@example("1e-9223372036854775809")
def test_the_same_texts_are_read_to_the_same_exact_values(oracle: Oracle, text: str) -> None:
    assume(within_our_bounds(text))
    told, value = oracle.quantity(text), ours(text)
    event("refused" if told is None else "read")
    assert value == (None if told is None else told.exact())


@examples
@given(st.sampled_from(["memory", "cpu", "nvidia.com/gpu"]), amounts)
@example("memory", "9223372036854775807")
@example("cpu", "9223372036854775807m")
def test_the_same_base_units_come_out(oracle: Oracle, resource: str, text: str) -> None:
    told = oracle.quantity(text, resource)
    assert told is not None
    assert base_units(resource, thousandths(text)) == told.units


@pytest.mark.parametrize("text", [".", "+", "-", "-.", "Ki", "Ti", "m", "e3", ".e-9"])
def test_a_number_without_a_digit_is_refused_though_kubernetes_reads_some_as_nothing(oracle: Oracle, text: str) -> None:
    told = oracle.quantity(text)
    assert told is not None
    assert told.exact() == 0
    assert ours(text) is None


@given(st.builds(str.__add__, st.sampled_from(["", "+", "-", ".", "-."]), st.one_of(known_suffixes, exponents)))
def test_no_number_without_a_digit_is_read(text: str) -> None:
    assert ours(text) is None


@pytest.mark.parametrize("text", ["1e1001", "10e2147483646", "1e6442450943"])
def test_an_exponent_out_of_range_is_refused_though_kubernetes_reads_it(oracle: Oracle, text: str) -> None:
    assert oracle.quantity(text) is not None
    assert ours(text) is None


@pytest.mark.parametrize("text", ["1e30", "1e1000", "9223372036854775808000"])
def test_what_exceeds_64_bits_is_exact_where_the_scheduler_s_count_overflows(oracle: Oracle, text: str) -> None:
    told = oracle.quantity(text)
    assert told is not None
    assert Fraction(thousandths(text), 1000) == told.exact()
    assert told.units != thousandths(text)
