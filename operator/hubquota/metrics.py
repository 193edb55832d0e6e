"""What an operator tells Prometheus. docs/metrics.md lists it, which a test compares.

Labels are the hub's namespace and words of fixed lists alone: no user, pod or policy, so that the number of series is
bounded by the number of hubs. A hub's series begin when it is served, so a standby has none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge

from hubquota.domain.history import DecisionKind
from hubquota.health import Health
from hubquota.settings import SettingsError

# A counter's creation is no news to anybody here, and doubles the series.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """All metrics of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._all: list[Gauge | Counter] = []
        self.user_quotas = self._gauge("user_quotas", "UserQuotas that exist, ignored ones included.")
        self.user_quotas_max = self._gauge("user_quotas_max", "UserQuotas that may exist: max_user_quotas.")
        self.user_quotas_expired = self._counter("user_quotas_expired", "UserQuotas deleted as expired.")
        self.users_left_out = self._gauge("users_left_out", "Users with usage but no UserQuota, for want of room.")
        self.policies = self._gauge(
            "policies", "QuotaPolicies that are applied (yes), and that are not (no).", "applied"
        )
        self.pods_metered = self._gauge("pods_metered", "Pods that hold something now.")
        self.statuses_written = self._counter("statuses_written", "Statuses written.", "kind")
        self.poison_pods = self._counter("poison_pods", "Pods that cannot be metered: see the log for each.")
        self.ledger_available = self._gauge("ledger_available", "Whether the ledger can be written: 1 or 0.")
        self.ledger_waiting = self._gauge("ledger_waiting_pods", "Pods that wait to be written into the ledger.")
        self.ledger_left_out = self._counter("ledger_left_out", "Pods that could not wait, for want of room.")
        self.ledger_unreadable = self._gauge("ledger_unreadable_pods", "Rows of pods that were met and cannot be read.")
        self.ledger_faults = self._counter("ledger_faults", "Writes into the ledger that failed, and were repeated.")
        self.decisions = self._counter("decisions", "Decisions of hooks that were new to the ledger.", "kind")
        self.decisions_malformed = self._counter("decisions_malformed", "Events of hooks that tell no decision.")
        self.decisions_dropped = self._counter("decisions_dropped", "Decisions that could not wait, for want of room.")
        self.heartbeat = self._gauge("heartbeat_timestamp_seconds", "When the heartbeat was last renewed.")
        self.resync = self._gauge(
            "resync_timestamp_seconds", "When pods were last listed and compared with the ledger."
        )

        self.hub_listed = self._gauge(
            "hub_listed_timestamp_seconds", "When the hub's users were last read from its own API; 0: never."
        )

    def of(self, hub: str) -> "HubMetrics":
        """The metrics of one hub; they begin at 0."""
        return HubMetrics(self, hub)

    def forget(self, hub: str) -> None:
        """A hub is served no more: its series end, for they would tell what was."""
        for metric in self._all:
            metric.remove_by_labels({"hub": hub})

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        gauge = Gauge(f"hubquota_{name}", text, ("hub", *labels), registry=self.registry)
        self._all.append(gauge)
        return gauge

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(f"hubquota_{name}", text, ("hub", *labels), registry=self.registry)
        self._all.append(counter)
        return counter


class MonitorMetrics:
    """All metrics of ``hubquota monitor``, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.looked = Gauge(
            "hubquota_monitor_timestamp_seconds",
            "When the ledger was last checked for pods that are gone.",
            ("hub",),
            registry=self.registry,
        )
        self.ended = Counter(
            "hubquota_monitor_ended",
            "Pods that were gone, and the ledger did not know.",
            ("hub",),
            registry=self.registry,
        )


class HubMetrics:
    """The series of one hub."""

    def __init__(self, metrics: Metrics, hub: str) -> None:
        self.user_quotas = metrics.user_quotas.labels(hub)
        self.user_quotas_max = metrics.user_quotas_max.labels(hub)
        self.user_quotas_expired = metrics.user_quotas_expired.labels(hub)
        self.users_left_out = metrics.users_left_out.labels(hub)
        self.policies_applied = metrics.policies.labels(hub, "yes")
        self.policies_not_applied = metrics.policies.labels(hub, "no")
        self.pods_metered = metrics.pods_metered.labels(hub)
        self.written = {kind: metrics.statuses_written.labels(hub, kind) for kind in ("userquotas", "quotapolicies")}
        self.poison_pods = metrics.poison_pods.labels(hub)
        self.ledger_available = metrics.ledger_available.labels(hub)
        self.ledger_waiting = metrics.ledger_waiting.labels(hub)
        self.ledger_left_out = metrics.ledger_left_out.labels(hub)
        self.ledger_unreadable = metrics.ledger_unreadable.labels(hub)
        self.ledger_faults = metrics.ledger_faults.labels(hub)
        self.decisions = {kind: metrics.decisions.labels(hub, str(kind)) for kind in DecisionKind}
        self.decisions_malformed = metrics.decisions_malformed.labels(hub)
        self.decisions_dropped = metrics.decisions_dropped.labels(hub)
        self.heartbeat = metrics.heartbeat.labels(hub)
        self.resync = metrics.resync.labels(hub)
        self.hub_listed = metrics.hub_listed.labels(hub)


@contextmanager
def served(registry: CollectorRegistry, health: Health, address: str, port: int) -> Iterator[None]:
    """Answer GET /metrics and probes on a thread of its own, so however busy the operator is; port 0: do not.

    Raises SettingsError where nobody can listen there.
    """
    if port == 0:
        yield
        return
    try:
        server, thread = prometheus_client.start_http_server(port, address, registry)
    except OSError as error:
        raise SettingsError(
            f"metrics_port: cannot listen on {address} port {port}: {error.strerror}; write another, or 0 for none"
        ) from error
    server.set_app(health.before(server.get_app()))  # type: ignore[arg-type]
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
