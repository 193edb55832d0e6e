"""Prometheus' answers, taken for what they are: text from outside."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hubquota.prometheus.errors import PrometheusError, TooMuch
from hubquota.resources.wording import printable

#: Characters of somebody else's words that are repeated in an error.
_REPEATED: Final = 300
#: The kinds of error after which a shorter question may be answered.
_TOO_LONG: Final = frozenset({"timeout", "canceled"})
_TOO_MANY: Final = ("too many samples", "maximum resolution", "exceeded the limit", "limit exceeded")

Sample = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer. ``samples``: instants (microseconds since 1970) and values; none is NaN or infinite."""

    labels: Mapping[str, str]
    samples: Sequence[Sample]


def read(status: int, text: bytes, most: int) -> list[Series]:
    """The series of an answer with at most ``most`` samples. Raises PrometheusError, TooMuch."""
    told = _object(status, text)
    if status >= 400 or told.get("status") != "success":
        raise _refusal(status, told)
    if warnings := told.get("warnings"):
        # What is missing from a part of an answer would be taken for pods that have ended.
        raise PrometheusError(f"Prometheus says that its answer is not whole: {shown(str(warnings))}")
    try:
        return list(_series(told["data"], most))
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise PrometheusError(f"Prometheus gave an answer of no known form: {shown(repr(fault))}") from fault


def shown(text: str) -> str:
    """Somebody else's words, short and without what could touch a terminal."""
    return printable(text if len(text) <= _REPEATED else f"{text[:_REPEATED]} ...")


def _object(status: int, text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        return told
    began = shown(text[:_REPEATED].decode("utf-8", "replace")) or "nothing"
    raise PrometheusError(
        f"what answers there is no Prometheus (status {status}, it says: {began}): "
        "name its address in prometheus_url, with the path before /api/v1"
    )


def _refusal(status: int, told: dict[str, Any]) -> PrometheusError:
    kind, why = str(told.get("errorType", "")), str(told.get("error") or told.get("message") or "no reason given")
    if kind in _TOO_LONG or any(words in why for words in _TOO_MANY):
        return TooMuch(f"Prometheus took too long, or had too much to look at: {shown(why)}")
    return PrometheusError(f"Prometheus refused a question (status {status}): {shown(why)}")


def _series(data: dict[str, Any], most: int) -> list[Series]:
    found, count = [], 0
    kind = data["resultType"]
    if kind not in ("vector", "matrix"):
        raise ValueError(f"a result of type {kind}")
    for row in data["result"]:
        pairs = [row["value"]] if kind == "vector" else row["values"]
        count += len(pairs)
        if count > most:
            raise TooMuch(f"Prometheus' answer has more than {most:,} samples")
        labels = {str(name): str(value) for name, value in row["metric"].items()}
        found.append(Series(labels, [(instant(float(at)), value) for at, told in pairs if _is(value := float(told))]))
    return found


def instant(seconds: float) -> int:
    """Microseconds of a time that Prometheus tells: its own are whole milliseconds."""
    return round(seconds * 1000) * 1000


def _is(value: float) -> bool:
    return math.isfinite(value)
