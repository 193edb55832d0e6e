"""Kubernetes quantities, read exactly and as strictly as the API server reads them.

Every parser of a peer was found wrong somewhere (1G read as 1Gi, 2M CPU read as 20,000, ``1_000`` accepted),
hence one of our own, checked against apimachinery's ``resource.Quantity`` grammar.
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
# A quantity never exceeds 2^63-1 in Kubernetes; longer exponents only serve to make a reader compute for ever.
_LONGEST: Final = 64
_LARGEST_EXPONENT: Final = 1000


class InvalidQuantity(ValueError):
    """The text is not a Kubernetes quantity; the message says what to write instead."""


def parse_quantity(text: str) -> Fraction:
    """The exact value of a quantity such as ``500m``, ``1.5Gi`` or ``2e3``.

    Raises InvalidQuantity for everything that the API server's grammar refuses (spaces, ``NaN``, ``1_000``, ``1ki``).
    """
    match = _GRAMMAR.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InvalidQuantity(
            f"{text[:_LONGEST]!r} is not a quantity: write a number and a suffix, such as 500m or 2Gi"
        )
    return Fraction(match["number"].rstrip(".")) * _multiplier(match["suffix"] or "")


def base_units(resource: str, text: str) -> int:
    """The whole base units of an allocation: bytes of memory, else thousandths of a CPU or device.

    A fraction of a base unit counts as a whole one, as Kubernetes rounds up. Raises InvalidQuantity also for
    a negative quantity, which no pod can hold.
    """
    value = parse_quantity(text) * (1 if resource == "memory" else 1000)
    if value < 0:
        raise InvalidQuantity(f"{text!r} is negative: write 0 or more")
    return -(-value.numerator // value.denominator)


def _multiplier(suffix: str) -> Fraction:
    if suffix in _BINARY:
        return _BINARY[suffix]
    if suffix in _DECIMAL:
        return _DECIMAL[suffix]
    exponent = int(suffix[1:])
    if abs(exponent) > _LARGEST_EXPONENT:
        raise InvalidQuantity(f"the exponent {exponent} is out of range: write at most e18")
    return Fraction(10) ** exponent
