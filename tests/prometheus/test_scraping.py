"""On a Prometheus that really scrapes: series that end are marked as ended, which written history lacks."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hubquota.domain.history import HowEnded, PodRecord
from hubquota.prometheus import reading
from hubquota.prometheus.errors import TooMuch
from tests.bench.backfilling import pods_of, read
from tests.bench.history import HUB, Ending, Life, Told
from tests.bench.objects import pod
from tests.bench.profiles import GIB, PLACES
from tests.prometheus.worlds import HUB as MADE
from tests.testbed.kube_state_metrics import told_of_namespace, told_of_pod
from tests.testbed.patience import PATIENCE
from tests.testbed.prometheus import PrometheusServer

pytestmark = pytest.mark.prometheus
MICROS = 1_000_000
EVERY = 2


class Exporter:
    """What kube-state-metrics would be: tells of the pods that are there."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.scrapes = 0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told = [
                    told_of_namespace(HUB, 1),
                    *(t for life in exporter.lives for t in told_of_pod(exporter.pod(life))),
                ]
                body = "".join(f"{t.line()}\n" for t in told).encode()
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                exporter.scrapes += 1

            def log_message(self, *_: Any) -> None:  # noqa: ANN401
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    @staticmethod
    def pod(life: Life) -> dict[str, Any]:
        return pod(life, int(time.time()))

    def wait(self, more: int) -> None:
        """Until so many more scrapes have come."""
        target, deadline = self.scrapes + more, time.monotonic() + PATIENCE
        while self.scrapes < target:
            assert time.monotonic() < deadline, f"{self.scrapes} scrapes"
            time.sleep(0.05)


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    made = Exporter()
    yield made
    made.server.shutdown()
    made.server.server_close()


def life(uid: str, now: int) -> Life:
    return Life(
        uid, f"jupyter-{uid}", uid, "", Told.HUB, PLACES["small"], now - 9, now - 7, None, None, Ending.FINISHED
    )


async def test_pods_that_vanish_finish_or_are_resized_between_real_scrapes(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_CLOSE", MICROS)
    job = {"job_name": "ksm", "honor_labels": True, "static_configs": [{"targets": [exporter.address]}]}
    config = {"global": {"scrape_interval": f"{EVERY}s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    server = PrometheusServer(tmp_path / "prometheus", config)
    began = int(time.time())
    vanishing, finishing, growing = (life(uid, began) for uid in ("vanishing", "finishing", "growing"))
    exporter.lives = [vanishing, finishing, growing]
    server.start()
    try:
        exporter.wait(3)
        changed = int(time.time())
        exporter.lives = [
            finishing._replace(ended=changed),
            growing._replace(resizes=((changed, PLACES["grown"]),)),
        ]
        exporter.wait(4)
        now = time.time_ns() // 1000
        records = {p.uid: p async for piece in read(server, (began - 60) * MICROS, now, now) for p in piece.pods}
        [told] = server.asked("query", query="kube_namespace_created[10m]")["result"]
    finally:
        server.stop()
    _as_it_was(records, began, changed, [round(at * MICROS) for at, _ in told["values"]])


def _as_it_was(records: dict[str, PodRecord], began: int, changed: int, scrapes: list[int]) -> None:
    assert {uid: (p.user, p.scheduled) for uid, p in records.items()} == {
        uid: (uid, (began - 7) * MICROS) for uid in ("vanishing", "finishing", "growing")
    }
    gone, over, grown = (records[uid] for uid in ("vanishing", "finishing", "growing"))
    assert gone.end is not None
    assert gone.end.bound is not None
    assert scrapes.index(gone.end.bound) == scrapes.index(gone.end.at) + 1
    assert gone.end.at / MICROS <= changed + 1 <= gone.end.bound / MICROS + 1
    assert over.end is not None
    assert (over.end.at, over.end.bound, over.end.how) == (changed * MICROS, None, HowEnded.BACKFILL)
    assert grown.end is None
    memory = [s for s in grown.segments if s.resource == "memory"]
    assert [s.request for s in memory] == [GIB, 3 * GIB]
    assert memory[1].start == gone.end.bound


@pytest.fixture
def strict(blocks: Path, tmp_path: Path) -> Iterator[Callable[[int], PrometheusServer]]:
    """The same history at a Prometheus that allows few samples in one question."""
    servers: list[PrometheusServer] = []

    def make(samples: int) -> PrometheusServer:
        server = PrometheusServer(tmp_path / f"strict-{samples}", flags=[f"--query.max-samples={samples}"])
        for block in blocks.glob("*/meta.json"):
            shutil.copytree(block.parent, server.data / block.parent.name, copy_function=os.link)
        server.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


async def test_a_prometheus_that_allows_little_at_once_is_asked_for_less_at_a_time(
    prometheus: PrometheusServer, strict: Callable[[int], PrometheusServer]
) -> None:
    selector, until = {"cluster": "5min"}, MADE.until * MICROS
    whole = await pods_of(prometheus, MADE, prometheus_selector=selector)
    some = strict(20_000)
    assert await pods_of(some, MADE, prometheus_selector=selector) == whole
    pieces = [p async for p in read(some, MADE.start * MICROS, until, until, prometheus_selector=selector)]
    assert len(pieces) > 24 / 6 + 2
    assert pieces[-1].seen == [(MADE.start * MICROS, until)]
    with pytest.raises(TooMuch, match="too many samples"):
        await pods_of(strict(20), MADE, prometheus_selector=selector)
