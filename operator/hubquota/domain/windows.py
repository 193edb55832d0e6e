"""The stretches of time that a quota looks back on."""

import re
from typing import Final

from hubquota.domain.usage import SECOND

_ROLLING: Final = re.compile(r"(?:([1-9][0-9]{0,2})d)?(?:([1-9][0-9]{0,3})h)?(?:([1-9][0-9]{0,4})m)?")
_SHORTEST: Final = 60 * SECOND
_LONGEST: Final = 400 * 24 * 3600 * SECOND


def rolling(text: str) -> int:
    """Microseconds of a rolling window such as ``7d`` (168 h exactly, S1) or ``1d12h30m``.

    Raises ValueError, with what to write instead, for anything but NdNhNm from 1m to 400d.
    """
    match = _ROLLING.fullmatch(text) if text else None
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a window: write days, hours and minutes, such as 7d or 1d12h")
    days, hours, minutes = (int(part or 0) for part in match.groups())
    if (days and hours > 23) or ((days or hours) and minutes > 59):
        raise ValueError(f"{text!r} carries over: write hours below 24 after days, and minutes below 60 after hours")
    length = ((days * 24 + hours) * 60 + minutes) * 60 * SECOND
    if not _SHORTEST <= length <= _LONGEST:
        raise ValueError(f"{text!r} is out of range: write a window from 1m to 400d")
    return length
