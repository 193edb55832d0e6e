"""Units of limits and usage: from what an admin writes to exact integers, and back to text for people.

Usage inside is base units x microseconds: bytes, thousandths of a CPU, thousandths of a device, thousandths of a
server. A count (``servers`` at once) is a plain number.
"""

from fractions import Fraction
from typing import Final

from hubquota.domain.measure import CREDIT
from hubquota.domain.windows import HOUR

#: Base units x microseconds in one unit of a limit over a window.
_OVER_TIME: Final = {
    "MiB-hours": 2**20 * HOUR,
    "GiB-hours": 2**30 * HOUR,
    "TiB-hours": 2**40 * HOUR,
    "CPU-hours": 1000 * HOUR,
    "device-hours": 1000 * HOUR,
    "GPU-hours": 1000 * HOUR,
    "hours": 1000 * HOUR,
    "credits": CREDIT * HOUR,
}
#: Of what has no window: a count, or bytes.
_COUNTED: Final = {"servers": 1, "GiB": 2**30, "TiB": 2**40}
#: Digits after the point of an amount in a status: a millionth of a GiB-hour is 4 s of a megabyte.
PLACES: Final = 6


def unit_size(unit: str) -> int:
    """Base units (x microseconds, for units over time) in one ``unit``. Raises KeyError for an unknown one."""
    return _OVER_TIME[unit] if unit in _OVER_TIME else _COUNTED[unit]


def to_base(value: str, unit: str) -> int:
    """A limit in whole base units: rounded up, since usage is whole and exhausted means usage >= limit."""
    exact = Fraction(value) * unit_size(unit)
    return -(-exact.numerator // exact.denominator)


def per_hour(rate: int, unit: str) -> str:
    """What a rate in base units adds in an hour, as a decimal string in ``unit``."""
    return decimal(rate * HOUR, unit)


def decimal(amount: int, unit: str, *, up: bool = False) -> str:
    """A decimal string in ``unit`` of at most six decimals: cut, so that 999.9999 never reads as a used-up 1000.

    ``up`` rounds up instead, for forecasts, which may promise too little but never too much.
    """
    scaled = amount * 10**PLACES
    size = unit_size(unit)
    millionths = -(-scaled // size) if up else scaled // size
    whole, rest = divmod(millionths, 10**PLACES)
    return f"{whole}.{rest:0{PLACES}d}".rstrip("0").rstrip(".")


def exactly(value: Fraction) -> str:
    """A decimal string of a number that has at most nine decimals."""
    whole, rest = divmod(value.numerator * 10**9 // value.denominator, 10**9)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def for_people(amount: str, places: int = 1) -> str:
    """A decimal string as people read it: thousands separated, cut after ``places``, small amounts not shown as 0."""
    whole, _, rest = amount.partition(".")
    # Small amounts get digits enough to be seen: 0.44, but 0.004.
    small = not int(whole) and rest.strip("0")
    shift = places if not small else 2 if rest[0] != "0" else PLACES
    return f"{int(whole):,}.{rest[:shift]}".rstrip("0").rstrip(".") if rest else f"{int(whole):,}"
