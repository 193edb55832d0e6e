"""Kubernetes quantities, read exactly and as strictly as the API server reads them.

Every parser of a peer was found wrong somewhere (1G read as 1Gi, 2M CPU read as 20,000, ``1_000`` accepted),
hence one of our own. The tests compare it with apimachinery's ``resource.ParseQuantity``, from which it differs on
purpose in what it refuses, none of which a pod can mean:

- a number without a digit: ParseQuantity reads ``.``, ``-`` and ``Ki`` as 0 (but not ``Pi``), against its grammar;
- more than 1,000 characters, and exponents beyond 1,000.

A value above 2^63-1 without a binary suffix is exact here as there, and the API server stores it. The scheduler's
64 bits then overflow, so that it counts a pod that asks for ``1e30`` CPUs as holding none: no number is right, and
who keeps amounts refuses it.
"""

import re
from fractions import Fraction
from typing import Final

# The grammar of k8s.io/apimachinery/pkg/api/resource: a signed number, then one suffix of one of three families.
_GRAMMAR: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?P<suffix>[eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE])?"
)
_BINARY: Final = {f"{letter}i": Fraction(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")}
_DECIMAL: Final = {
    suffix: Fraction(10) ** power
    for suffix, power in {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}.items()
}
#: apimachinery knows nothing finer than a nano, and caps what has a binary suffix, and only that.
_FINEST: Final = 10**9
_LARGEST_BINARY: Final = Fraction(2**63 - 1)
# Longer texts only serve to make a reader compute for ever; leading zeros apart, none is a number that fits 64 bits.
_LONGEST: Final = 1000
_LARGEST_EXPONENT: Final = 1000
_SHOWN: Final = 64


class InvalidQuantity(ValueError):
    """The text is not a Kubernetes quantity; the message says what to write instead."""


def parse_quantity(text: str) -> Fraction:
    """The exact value of a quantity such as ``500m``, ``1.5Gi`` or ``2e3``; what is finer than a nano is rounded up.

    Raises InvalidQuantity for everything that the API server's grammar refuses (spaces, ``NaN``, ``1_000``, ``1ki``).
    """
    match = _GRAMMAR.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InvalidQuantity(f"{text[:_SHOWN]!r} is not a quantity: write a number and a suffix, such as 500m or 2Gi")
    suffix = match["suffix"] or ""
    value = Fraction(_ceiling(abs(Fraction(match["number"].rstrip("."))) * _multiplier(suffix) * _FINEST), _FINEST)
    if suffix in _BINARY:
        value = min(value, _LARGEST_BINARY)
    return -value if text.startswith("-") else value


def thousandths(text: str) -> int:
    """The whole thousandths of an allocation, rounded up as the API server rounds what it stores of a pod.

    Raises InvalidQuantity also for a negative quantity, which no pod can hold.
    """
    value = parse_quantity(text)
    if value < 0:
        raise InvalidQuantity(f"{text[:_SHOWN]!r} is negative: write 0 or more")
    return _ceiling(value * 1000)


def base_units(resource: str, amount: int) -> int:
    """The base units of an ``amount`` in thousandths: whole bytes of memory, rounded up, else the thousandths.

    The scheduler rounds what a pod holds in all, not what each of its containers holds.
    """
    return -(-amount // 1000) if resource == "memory" else amount


def _ceiling(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _multiplier(suffix: str) -> Fraction:
    if suffix in _BINARY:
        return _BINARY[suffix]
    if suffix in _DECIMAL:
        return _DECIMAL[suffix]
    exponent = int(suffix[1:])
    # Kubernetes reads 64 bits and keeps the lowest 32, so that 2e4294967296 is 2: a pod can be stored so, and holds 2.
    kept = (exponent + 2**31) % 2**32 - 2**31
    if abs(kept) > _LARGEST_EXPONENT or not -(2**63) <= exponent < 2**63:
        raise InvalidQuantity(f"the exponent {suffix[:_SHOWN]} is out of range: write at most e18")
    return Fraction(10) ** kept
