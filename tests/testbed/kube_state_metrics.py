"""What kube-state-metrics tells of a pod, written after its ``internal/store/pod.go`` (v2): it cannot be had here.

Only what hubquota reads, and beside it what could be mistaken for that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from hubquota.domain.quantities import parse_quantity

Pod = Mapping[str, Any]
_PHASES: Final = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
#: As its --metric-annotations-allowlist is to be set.
ALLOWED: Final = re.compile(r"hub\.jupyter\.org/(user|server)name|hubquota\.dev/.*|primehub\.io/usage")


class Told(NamedTuple):
    """One series and its value."""

    metric: str
    labels: Mapping[str, str]
    value: float

    def line(self, **more: str) -> str:
        """In the text that is scraped, without an instant. ``more``: other labels."""
        labels = (f'{name}="{_escaped(value)}"' for name, value in {**self.labels, **more}.items())
        return f"{self.metric}{{{','.join(labels)}}} {self.value!r}"


def told_of_namespace(name: str, created: float) -> Told:
    """What is told of a namespace."""
    return Told("kube_namespace_created", {"namespace": name}, created)


def told_of_pod(pod: Pod, *, annotations: re.Pattern[str] | None = ALLOWED, labels: bool = False) -> list[Told]:
    """All that is told of a pod. ``annotations`` None: none are, as is usual; ``labels``: labels are."""
    metadata = pod["metadata"]
    mine = {"namespace": metadata["namespace"], "pod": metadata["name"], "uid": metadata["uid"]}
    families = [_info(pod), *_status(pod), *_containers(pod), *_overhead(pod)]
    if annotations is not None:
        chosen = {k: v for k, v in (metadata.get("annotations") or {}).items() if annotations.fullmatch(k)}
        families.append(Told("kube_pod_annotations", _as_labels("annotation", chosen), 1))
    if labels:
        families.append(Told("kube_pod_labels", _as_labels("label", metadata.get("labels") or {}), 1))
    # A label without a value is none, to Prometheus.
    return [t._replace(labels=mine | {k: v for k, v in t.labels.items() if v}) for t in families]


def _info(pod: Pod) -> Told:
    node = pod["spec"].get("nodeName", "")
    running = pod["status"].get("phase") == "Running"
    address = {"host_ip": "10.0.0.1", "pod_ip": "10.1.0.1"} if running else {}
    return Told("kube_pod_info", {"node": node, "host_network": "false", **address}, 1)


def _status(pod: Pod) -> Iterator[Told]:
    metadata, status = pod["metadata"], pod["status"]
    yield Told("kube_pod_created", {}, _unix(metadata["creationTimestamp"]))
    if told := metadata.get("deletionTimestamp"):
        yield Told("kube_pod_deletion_timestamp", {}, _unix(told))
    for phase in _PHASES:
        yield Told("kube_pod_status_phase", {"phase": phase}, float(status.get("phase") == phase))
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "True":
            yield Told("kube_pod_status_scheduled_time", {}, _unix(condition["lastTransitionTime"]))
    if told := status.get("startTime"):
        yield Told("kube_pod_start_time", {}, _unix(told))
    ends = [s["state"]["terminated"]["finishedAt"] for s in _statuses(status, "containerStatuses", "terminated")]
    if ends:
        yield Told("kube_pod_completion_time", {}, max(map(_unix, ends)))


def _containers(pod: Pod) -> Iterator[Told]:
    spec, node = pod["spec"], {"node": pod["spec"].get("nodeName", "")}
    for kind, prefix in (("containers", "kube_pod_container"), ("initContainers", "kube_pod_init_container")):
        for container in spec.get(kind, ()):
            name = {"container": container["name"]}
            resources = container.get("resources") or {}
            # The API server has written a missing request beside a limit.
            limits = resources.get("limits") or {}
            for which, amounts in (("requests", limits | (resources.get("requests") or {})), ("limits", limits)):
                for resource, quantity in amounts.items():
                    told = {"resource": re.sub(r"[^a-zA-Z0-9_]", "_", resource), "unit": _unit(resource)}
                    yield Told(f"{prefix}_resource_{which}", name | node | told, float(parse_quantity(str(quantity))))
            if kind == "initContainers":
                told = {"restart_policy": container.get("restartPolicy", "")}
                yield Told("kube_pod_init_container_info", name | told, 1)


def _overhead(pod: Pod) -> Iterator[Told]:
    for resource, metric in (("cpu", "cpu_cores"), ("memory", "memory_bytes")):
        if quantity := pod["spec"].get("overhead", {}).get(resource):
            yield Told(f"kube_pod_overhead_{metric}", {}, float(parse_quantity(quantity)))


def _statuses(status: Pod, kind: str, state: str) -> Iterable[Pod]:
    return (s for s in status.get(kind, ()) if state in s["state"])


def _unit(resource: str) -> str:
    return {"cpu": "core", "memory": "byte"}.get(resource, "integer")


def _as_labels(prefix: str, told: Mapping[str, str]) -> dict[str, str]:
    snake = {
        re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"[^a-zA-Z0-9_]", "_", k)).lower(): v for k, v in told.items()
    }
    return {f"{prefix}_{name}": value for name, value in snake.items()}


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
