"""What Prometheus is told is what the documentation lists, and its size depends on the number of hubs alone."""

import asyncio
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from hubquota.health import Health
from hubquota.metrics import Metrics, MonitorMetrics, served
from hubquota.settings import SettingsError
from tests.testbed.processes import free_port

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def told(registry: CollectorRegistry) -> set[tuple[str, str, str, str]]:
    """Name as it is scraped, type, labels, meaning."""
    found = set()
    for family in registry.collect():
        labels = sorted({label for sample in family.samples for label in sample.labels})
        found.add(
            (family.samples[0].name, family.type, ", ".join(f"`{label}`" for label in labels), family.documentation)
        )
    return found


def test_docs_list_every_metric_and_no_other() -> None:
    operators, monitors = Metrics(), MonitorMetrics()
    operators.of("hub")
    monitors.looked.labels("hub"), monitors.ended.labels("hub")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE)
    assert set(rows) == told(operators.registry) | told(monitors.registry)


def test_the_series_of_a_hub_that_is_served_no_more_end() -> None:
    metrics = Metrics()
    before = metrics.of("a"), metrics.of("b")
    assert before
    metrics.forget("b")
    assert {s.labels["hub"] for family in metrics.registry.collect() for s in family.samples} == {"a"}


def probe(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


async def test_probes_tell_whether_it_lives_and_whether_it_does_its_work() -> None:
    at, port = [0.0], free_port()
    health, doubt = Health(lambda: at[0]), ["reads the past"]
    health.look = lambda: doubt[0] or None
    with served(Metrics().registry, health, "127.0.0.1", port):
        assert probe(port, "/readyz") == (503, "starts\n")
        following = asyncio.create_task(health.follow())
        await asyncio.sleep(0)
        assert probe(port, "/healthz") == (200, "ok\n")
        assert probe(port, "/readyz") == (503, "reads the past\n")
        following.cancel()
        doubt[0], following = "", asyncio.create_task(health.follow())
        await asyncio.sleep(0)
        assert probe(port, "/readyz") == (200, "ok\n")
        at[0] = 61
        assert probe(port, "/healthz") == probe(port, "/readyz") == (503, "hangs since 61 s\n")
        following.cancel()


def test_a_hub_s_series_begin_when_it_is_served_and_are_few() -> None:
    metrics = Metrics()
    assert [sample for family in metrics.registry.collect() for sample in family.samples] == []
    sizes = []
    for hub in ("a", "b"):
        metrics.of(hub).user_quotas.set(50_000)
        sizes.append(sum(len(family.samples) for family in metrics.registry.collect()))
    assert sizes[1] == 2 * sizes[0] < 60


def test_they_are_served_where_settings_say_and_no_longer() -> None:
    metrics, port = Metrics(), free_port()
    metrics.of("hub").poison_pods.inc()
    with served(metrics.registry, Health(), "127.0.0.1", port):
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    assert 'hubquota_poison_pods_total{hub="hub"} 1.0' in text.splitlines()
    with served(metrics.registry, Health(), "127.0.0.1", port):  # the port is free again
        pass


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    with (
        served(Metrics().registry, Health(), "127.0.0.1", port),
        pytest.raises(SettingsError, match=f"metrics_port: cannot listen on 127.0.0.1 port {port}: Address already"),
        served(Metrics().registry, Health(), "127.0.0.1", port),
    ):
        pass
