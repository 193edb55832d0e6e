"""Prometheus' HTTP API: one question out, its series in; all of it bounded. Addresses come from the settings only."""

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable, Generator
from typing import Final, Self

import httpx

from hubquota.outgoing import asked, caller, secret, trusted
from hubquota.prometheus import answers
from hubquota.prometheus.answers import Series, shown
from hubquota.prometheus.errors import PrometheusError, TooMuch
from hubquota.settings import Settings

#: Bytes of one answer, unpacked, and samples in it: as objects they take some ten times as much.
MOST_BYTES: Final = 16 * 2**20
MOST_SAMPLES: Final = 500_000
#: Attempts at one question, and seconds between them: doubled each time, and a random part of it on top.
_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_PASSING: Final = frozenset({429, 500, 502, 503, 504})


class Prometheus:
    """One Prometheus, or what answers like it. ``pause``: waits so many seconds, between attempts."""

    def __init__(self, settings: Settings, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Raises PrometheusError where the settings name none, or a file that cannot be read."""
        if settings.prometheus_url is None:
            raise PrometheusError("no Prometheus is named: write its address in prometheus_url")
        self.url = settings.prometheus_url
        self._timeout, self._pause = settings.prometheus_timeout, pause
        self._credentials = _Credentials(settings)
        trust = trusted("prometheus_ca_file", settings.prometheus_ca_file, PrometheusError)
        self._http = caller(self._credentials, settings.prometheus_timeout, trust, "application/json")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def query(self, expression: str, at: int) -> list[Series]:
        """What an expression comes to at an instant. Raises PrometheusError, TooMuch."""
        return await self._asked("query", {"query": expression, "time": _seconds(at)})

    async def query_range(self, expression: str, start: int, end: int, step: int) -> list[Series]:
        """What it comes to at each ``step`` microseconds from start to end: at most 11,000, by Prometheus' own rule.

        Raises PrometheusError, TooMuch.
        """
        when = {"start": _seconds(start), "end": _seconds(end), "step": _seconds(step)}
        return await self._asked("query_range", {"query": expression} | when)

    async def _asked(self, what: str, query: dict[str, str]) -> list[Series]:
        # Where several stand behind one address, a part of the answer is worse than none.
        query |= {"timeout": f"{self._timeout:.0f}s", "partial_response": "false"}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._once(what, query)
            except _Passing as fault:
                if attempt == _ATTEMPTS:
                    raise PrometheusError(f"{fault}, {_ATTEMPTS} times") from fault
                await self._pause(fault.pause(attempt))
        raise AssertionError("unreachable")

    async def _once(self, what: str, query: dict[str, str]) -> list[Series]:
        try:
            too_much = TooMuch(f"Prometheus' answer is larger than {MOST_BYTES // 2**20} MiB")
            url = f"{self.url}/api/v1/{what}"
            answer, text = await asked(self._http, url, query, self._timeout, MOST_BYTES, too_much)
        except (httpx.TimeoutException, TimeoutError) as fault:
            raise _Passing(f"Prometheus did not answer within {self._timeout:.0f} s") from fault
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            why = self._without_secrets(str(fault)) or type(fault).__name__
            raise _Passing(f"Prometheus cannot be reached: {shown(why)}") from fault
        try:
            return self._judged(answer, text)
        except PrometheusError as fault:
            fault.args = (self._without_secrets(str(fault)),)
            raise

    def _judged(self, answer: httpx.Response, text: bytes) -> list[Series]:
        status = answer.status_code
        if 300 <= status < 400:
            to = shown(answer.headers.get("location", "nowhere").split("?")[0])
            raise PrometheusError(f"Prometheus sends us on to {to}, which is not followed: name it in prometheus_url")
        if status in (401, 403):
            raise PrometheusError(
                f"Prometheus does not let us in (status {status}): look at prometheus_token_file, "
                "prometheus_username and prometheus_password_file"
            )
        if status not in _PASSING:
            return answers.read(status, text, MOST_SAMPLES)
        try:
            return answers.read(status, text, MOST_SAMPLES)
        except TooMuch:
            raise
        except PrometheusError as fault:
            raise _Passing(str(fault), answer.headers.get("retry-after", "")) from None

    def _without_secrets(self, text: str) -> str:
        """An answer may repeat what it was sent."""
        for held in self._credentials.secrets():
            text = text.replace(held, "***")
        return text


class _Passing(PrometheusError):
    """What may pass: it is tried again. ``after``: what the answer says of when."""

    def __init__(self, message: str, after: str = "") -> None:
        super().__init__(message)
        self._after = after

    def pause(self, attempt: int) -> float:
        """Seconds to wait after so many attempts."""
        told = float(self._after) if self._after.isascii() and self._after.isdigit() else 0.0
        backoff = _FIRST_PAUSE * (1 << (attempt - 1)) * (1 + random.random())  # noqa: S311 - no secret
        return min(max(told, backoff), _LONGEST_PAUSE)


class _Credentials(httpx.Auth):
    """What the files say at each call: a token in a pod is renewed every hour."""

    def __init__(self, settings: Settings) -> None:
        self._user = settings.prometheus_username
        self._password, self._token = settings.prometheus_password_file, settings.prometheus_token_file
        self.secrets()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if words := self._words():
            request.headers["Authorization"] = words
        yield request

    def secrets(self) -> list[str]:
        """What must never be shown. Raises PrometheusError where a file cannot be read."""
        words = self._words()
        held = [words, words.partition(" ")[2]] if words else []
        if self._password is not None:
            held.append(secret("prometheus_password_file", self._password, PrometheusError))
        return held

    def _words(self) -> str | None:
        if self._token is not None:
            return f"Bearer {secret('prometheus_token_file', self._token, PrometheusError)}"
        if self._user is None or self._password is None:
            return None
        both = f"{self._user}:{secret('prometheus_password_file', self._password, PrometheusError)}"
        return f"Basic {base64.b64encode(both.encode()).decode()}"


def _seconds(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    return f"{seconds}.{rest // 1000:03d}"
