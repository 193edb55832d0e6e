"""A real Prometheus with the history of a made-up hub, scraped in several ways; and one that only pretends."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bench.backfilling import filled
from tests.prometheus.worlds import HUB, HUB_LIVES, ODD, SCRAPINGS
from tests.testbed.kube_state_metrics import Told
from tests.testbed.prometheus import PrometheusServer


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A real Prometheus that has the same hub as several clusters, each scraped in its own way (``worlds``)."""
    folder = tmp_path_factory.mktemp("prometheus")
    server = PrometheusServer(folder / "server")
    filled(server, HUB_LIVES, [s for scrapings in SCRAPINGS.values() for s in scrapings], folder / "samples")
    odd = folder / "odd.om"
    odd.write_text("".join(f"{Told('odd', {'x': text}, 1).line()} {HUB.start}\n" for text in ODD) + "# EOF\n")
    server.fill(odd)
    # Aside, for others to read: a server that runs makes fewer blocks of its own.
    shutil.copytree(server.data, folder / "blocks", copy_function=os.link)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def blocks(prometheus: PrometheusServer) -> Path:
    """What that Prometheus was filled with: a folder of blocks."""
    return prometheus.data.parent.parent / "blocks"


@dataclass
class Request:
    """What the pretender was asked."""

    path: str
    headers: dict[str, str]


@dataclass
class Pretender:
    """Answers as the test says. ``answers``: status, headers, body; one after the other, the last for ever."""

    url: str
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    hangs: threading.Event | None = None
    passes_on: tuple[str, int] | None = None
    """To whom, and how many questions; those after them it answers itself."""

    def says(self, status: int, body: object = b"", **headers: str) -> None:
        """One more answer; an object as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"content-type": "text/html" if isinstance(body, bytes) else "application/json"}
        self.answers.append((status, kind | {k.replace("_", "-"): v for k, v in headers.items()}, raw))


@pytest.fixture
def make_pretender() -> Iterator[Callable[[], Pretender]]:
    """Makes servers on the loopback interface that pretend to be Prometheus."""
    servers: list[tuple[ThreadingHTTPServer, Pretender]] = []

    def make() -> Pretender:
        pretender = Pretender("")
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pretender))
        server.daemon_threads = True
        pretender.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append((server, pretender))
        return pretender

    yield make
    for server, pretender in servers:
        if pretender.hangs is not None:
            pretender.hangs.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def pretender(make_pretender: Callable[[], Pretender]) -> Pretender:
    """One such server."""
    return make_pretender()


def _handler(pretender: Pretender) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pretender.asked.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}))
            if pretender.hangs is not None:
                pretender.hangs.wait(60)
                return
            if pretender.passes_on is not None and len(pretender.asked) <= pretender.passes_on[1]:
                told = httpx.get(f"{pretender.passes_on[0]}{self.path}", timeout=30)
                status, headers, body = told.status_code, {"content-type": "application/json"}, told.content
            else:
                status, headers, body = pretender.answers.pop(0) if len(pretender.answers) > 1 else pretender.answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:  # noqa: ANN401
            """Nothing."""

    return Handler


def secret(folder: Path, text: str) -> Path:
    """A file that holds a secret."""
    file = folder / "secret"
    file.write_text(f"{text}\n")
    return file
