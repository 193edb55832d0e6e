"""What Kubernetes' probes are told: ``/healthz``, whether this process lives; ``/readyz``, whether it does its work."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

#: Seconds without a turn of the loop after which the process counts as hung. Reading a large past holds it up for 2.
_HUNG: Final = 60.0
#: Seconds between looks at what keeps it from its work.
_LOOK: Final = 1.0
#: A WSGI application, as the server of metrics runs one.
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Health:
    """One process' health. ``monotonic`` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._turned = monotonic()
        self._doubt: str | None = "starts"
        self.look: Callable[[], str | None] = lambda: "starts"
        """What keeps it from its work now, in words; None: nothing does. Asked on the loop, about once a second."""

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._turned, self._doubt = self._monotonic(), self.look()
            await asyncio.sleep(_LOOK)

    def told(self, path: str) -> tuple[str, str] | None:
        """Status line and text for a path; None: it is none of ours."""
        hung = self._monotonic() - self._turned
        if path == "/healthz":
            return ("200 OK", "ok") if hung < _HUNG else ("503 Service Unavailable", f"hangs since {hung:.0f} s")
        if path != "/readyz":
            return None
        doubt = self._doubt if hung < _HUNG else f"hangs since {hung:.0f} s"
        return ("200 OK", "ok") if doubt is None else ("503 Service Unavailable", doubt)

    def before(self, other: Wsgi) -> Wsgi:
        """Answer probes, and have the other application answer the rest."""

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            told = self.told(environ.get("PATH_INFO", ""))
            if told is None:
                return other(environ, start)
            line, text = told
            start(line, [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{text}\n".encode()]

        return answer
