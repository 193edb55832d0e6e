"""What Prometheus is told is what the documentation lists, and its size depends on the number of hubs alone."""

import re
import urllib.request
from pathlib import Path

import pytest

from hubquota.metrics import Metrics, served
from hubquota.settings import SettingsError
from tests.testbed.processes import free_port

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def told(metrics: Metrics) -> set[tuple[str, str, str, str]]:
    """Name as it is scraped, type, labels, meaning."""
    metrics.of("hub")
    found = set()
    for family in metrics.registry.collect():
        labels = sorted({label for sample in family.samples for label in sample.labels})
        found.add(
            (family.samples[0].name, family.type, ", ".join(f"`{label}`" for label in labels), family.documentation)
        )
    return found


def test_docs_list_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE)
    assert set(rows) == told(Metrics())


def test_a_hub_s_series_begin_when_it_is_served_and_are_few() -> None:
    metrics = Metrics()
    assert [sample for family in metrics.registry.collect() for sample in family.samples] == []
    sizes = []
    for hub in ("a", "b"):
        metrics.of(hub).user_quotas.set(50_000)
        sizes.append(sum(len(family.samples) for family in metrics.registry.collect()))
    assert sizes[1] == 2 * sizes[0] < 40


def test_they_are_served_where_settings_say_and_no_longer() -> None:
    metrics, port = Metrics(), free_port()
    metrics.of("hub").poison_pods.inc()
    with served(metrics, "127.0.0.1", port):
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    assert 'hubquota_poison_pods_total{hub="hub"} 1.0' in text.splitlines()
    with served(metrics, "127.0.0.1", port):  # the port is free again
        pass


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    with (
        served(Metrics(), "127.0.0.1", port),
        pytest.raises(SettingsError, match=f"metrics_port: cannot listen on 127.0.0.1 port {port}: Address already"),
        served(Metrics(), "127.0.0.1", port),
    ):
        pass
