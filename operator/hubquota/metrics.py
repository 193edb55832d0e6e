"""What an operator tells Prometheus. docs/metrics.md lists it, which a test compares.

Labels are the hub's namespace and words of fixed lists alone: no user, pod or policy, so that the number of series is
bounded by the number of hubs. A hub's series begin when it is served, so a standby has none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge

from hubquota.settings import SettingsError

# A counter's creation is no news to anybody here, and doubles the series.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """All metrics of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self.heartbeat = self._gauge("heartbeat_timestamp_seconds", "When the heartbeat was last renewed.")
        self.resync = self._gauge(
            "resync_timestamp_seconds", "When pods were last listed and compared with the ledger."
        )

    def of(self, hub: str) -> "HubMetrics":
        """The metrics of one hub; they begin at 0."""
        return HubMetrics(self, hub)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"hubquota_{name}", text, ("hub", *labels), registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"hubquota_{name}", text, ("hub", *labels), registry=self.registry)


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
        self.heartbeat = metrics.heartbeat.labels(hub)
        self.resync = metrics.resync.labels(hub)


@contextmanager
def served(metrics: Metrics, address: str, port: int) -> Iterator[None]:
    """Answer GET /metrics on a thread of its own, so that it answers however busy the operator is; port 0: do not.

    Raises SettingsError where nobody can listen there.
    """
    if port == 0:
        yield
        return
    try:
        server, thread = prometheus_client.start_http_server(port, address, metrics.registry)
    except OSError as error:
        raise SettingsError(
            f"metrics_port: cannot listen on {address} port {port}: {error.strerror}; write another, or 0 for none"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
