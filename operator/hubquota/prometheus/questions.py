"""What Prometheus is asked about the pods of a hub.

Prometheus itself takes together what several servers tell of one pod. It is asked for the instants of scrapes and not
for values at instants of ours: such a value may be five minutes old.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple

from hubquota.domain.attribution import ANNOTATIONS
from hubquota.prometheus import sightings
from hubquota.prometheus.answers import Series
from hubquota.prometheus.client import Prometheus
from hubquota.prometheus.errors import PrometheusError
from hubquota.prometheus.promql import Names, any_of, milliseconds, quoted
from hubquota.prometheus.sightings import Ask, Changes, Instants, Labels, Sighting, Take

_INFO: Final = "kube_pod_info"
_NAMESPACE: Final = "kube_namespace_created"
_PHASE: Final = "kube_pod_status_phase"
_USER, _SERVER = "label_hub_jupyter_org_username", "label_hub_jupyter_org_servername"
#: Of kube_pod_info, the labels that tell of the pod; the others tell who scraped it.
_OF_A_POD: Final = (
    *("pod", "uid", "node", "host_ip", "pod_ip", "created_by_kind", "created_by_name", "priority_class"),
    *("host_network", "container"),
)
#: By metric: whether it is of containers that run before the others, and whether of limits.
_ASKED: Final = {
    "kube_pod_container_resource_requests": (False, False),
    "kube_pod_container_resource_limits": (False, True),
    "kube_pod_init_container_resource_requests": (True, False),
    "kube_pod_init_container_resource_limits": (True, True),
}
#: Of these, those that a pod's resize changes.
_RESIZED: Final = ("kube_pod_container_resource_requests", "kube_pod_init_container_resource_requests")
_OVERHEAD: Final = {"kube_pod_overhead_cpu_cores": "cpu", "kube_pod_overhead_memory_bytes": "memory"}
_INSTANTS: Final[dict[str, Instants]] = {
    "kube_pod_status_scheduled_time": "scheduled",
    "kube_pod_start_time": "started",
    "kube_pod_completion_time": "completed",
    "kube_pod_deletion_timestamp": "deletion",
}
#: More than lies between two scrapes.
_SHORT: Final = "15m"
#: Questions under way at once.
_AT_ONCE: Final = 4


class Span(NamedTuple):
    """A stretch of time, and how closely it is looked at: microseconds."""

    start: int
    end: int
    step: int


class Question(NamedTuple):
    """An expression, and what takes in each row of its answer."""

    expression: str
    take: Take


class Questions:
    """Asks about the pods of one hub."""

    def __init__(self, prometheus: Prometheus, names: Names, hub: str) -> None:
        self._prometheus, self._names, self._hub = prometheus, names, hub
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def oldest(self, start: int, end: int, step: int) -> int | None:
        """The end of the first ``step`` in which there was a scrape; None: there was none. Raises PrometheusError."""
        both = (f"present_over_time({self._select(metric)}[{milliseconds(step)}])" for metric in (_NAMESPACE, _INFO))
        found = await self._prometheus.query_range(f"max({' or '.join(both)})", start, end, step)
        return min((at for series in found for at, _ in series.samples), default=None)

    async def scrapes(self, span: Span) -> list[Series]:
        """The instants as values, for each server that was scraped and each that did. Raises PrometheusError."""
        both = (f"timestamp({self._select(metric)})" for metric in (_INFO, _NAMESPACE))
        told = f"max without {self._names.by(_OF_A_POD)} ({' or '.join(both)})"
        return await self._prometheus.query_range(told, *span)

    async def tells_requests(self, at: int) -> bool:
        """Whether any pod of the cluster was told to ask for something a short time before. Raises PrometheusError."""
        requests = self._names.everywhere("kube_pod_container_resource_requests")
        return bool(await self._prometheus.query(f"group(present_over_time({requests}[{_SHORT}]))", at))

    async def sightings(self, span: Span) -> tuple[dict[str, Sighting], bool]:
        """All pods by uid, placed or not; and whether there were some without. Raises PrometheusError, TooMuch."""
        found: dict[str, Sighting] = {}
        nameless, uid_label = False, self._names.here("uid")
        for question, answer in await self._answers(list(self._all(span)), span.end):
            for series in answer:
                uid = series.labels.get(uid_label, "")
                nameless = nameless or not uid
                if uid and series.samples:
                    question.take(found.setdefault(uid, Sighting(uid)), series.labels, series.samples[0][1])
        return found, nameless

    async def changes(self, uid: str, start: int, end: int) -> Changes:
        """What one pod asked for, from each change on. Raises PrometheusError, TooMuch."""
        here = {self._names.here(metric): kind for metric, kind in _ASKED.items()}
        chosen = self._names.select("", self._hub, ("__name__", "=~", any_of(here)), ("uid", "=", quoted(uid)))
        sources: defaultdict[frozenset[tuple[str, str]], list[tuple[int, Ask, float]]] = defaultdict(list)
        for series in await self._prometheus.query(f"{chosen}[{milliseconds(end - start)}]", end):
            ask = self._asking(*here[series.labels["__name__"]])(series.labels)
            sources[self._source(series.labels)] += [(at, ask, value) for at, value in series.samples]
        # Of several servers one, for another may tell the same a little later.
        fullest = max(sources, key=lambda source: len(sources[source]), default=frozenset())
        return _changes(sources[fullest])

    async def _answers(self, asked: list[Question], at: int) -> list[tuple[Question, list[Series]]]:
        async def answer(question: Question) -> tuple[Question, list[Series]]:
            async with self._turn:
                return question, await self._prometheus.query(question.expression, at)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(answer(question)) for question in asked]
        except* PrometheusError as several:
            raise several.exceptions[0] from None
        return [task.result() for task in tasks]

    def _all(self, span: Span) -> Iterator[Question]:
        here = self._names.here
        listed, placed = self._select(_INFO), self._select(_INFO, ("node", "!=", '""'))
        yield Question(self._scraped("min", listed, span, "pod", "node"), sightings.placed(here("pod"), here("node")))
        yield Question(self._scraped("max", placed, span), sightings.instants("last"))
        yield self._phase("max", ("Pending", "Running", "Unknown"), "alive", span)
        yield self._phase("min", ("Succeeded", "Failed"), "finished", span)
        for metric, which in _INSTANTS.items():
            best = "max" if which == "completed" else "min"
            yield Question(self._valued(best, metric, span), sightings.instants(which))
        yield from self._marks(span)
        yield from self._allocations(span)

    def _phase(self, best: str, phases: Collection[str], which: Instants, span: Span) -> Question:
        phase = self._select(_PHASE, ("phase", "=~", any_of(phases)))
        return Question(
            f"{best} by {self._names.by(['uid'])} ({best}_over_time("
            f"(timestamp({phase}) and ({phase} == 1)){_looked_at(span)}))",
            sightings.instants(which),
        )

    def _marks(self, span: Span) -> Iterator[Question]:
        annotations = {_label(name): name for name in ANNOTATIONS}
        by_label = {self._names.here(label): name for label, name in annotations.items()}
        told = self._scraped("min", self._select("kube_pod_annotations"), span, *annotations)
        yield Question(told, sightings.annotations(by_label))
        told = self._scraped("min", self._select("kube_pod_labels"), span, _USER, _SERVER)
        yield Question(told, sightings.labels_of(self._names.here(_USER), self._names.here(_SERVER)))

    def _allocations(self, span: Span) -> Iterator[Question]:
        for metric, kind in _ASKED.items():
            ask = self._asking(*kind)
            told = ("container", "resource")
            yield Question(self._valued("max", metric, span, *told), sightings.most(ask))
            if metric in _RESIZED:
                yield Question(self._valued("min", metric, span, *told), sightings.least(ask))
        for metric, resource in _OVERHEAD.items():
            yield Question(self._valued("max", metric, span), sightings.most(_overhead(resource)))
        lasting = self._select("kube_pod_init_container_info", ("restart_policy", "=", '"Always"'))
        told_of = f"{lasting}[{milliseconds(span.end - span.start)}]"
        by = self._names.by(["uid", "container"])
        yield Question(
            f"group by {by} (present_over_time({told_of}))", sightings.sidecars(self._names.here("container"))
        )

    def _select(self, metric: str, *more: tuple[str, str, str]) -> str:
        return self._names.select(metric, self._hub, *more)

    def _scraped(self, best: str, chosen: str, span: Span, *by: str) -> str:
        """The first or last scrape that had these series."""
        return f"{best} by {self._names.by(['uid', *by])} ({best}_over_time(timestamp({chosen}){_looked_at(span)}))"

    def _valued(self, best: str, metric: str, span: Span, *by: str) -> str:
        """The least or greatest value of a metric."""
        told = f"{self._select(metric)}[{milliseconds(span.end - span.start)}]"
        return f"{best} by {self._names.by(['uid', *by])} ({best}_over_time({told}))"

    def _asking(self, initial: bool, limit: bool) -> Callable[[Labels], Ask]:
        container, resource = self._names.here("container"), self._names.here("resource")
        return lambda labels: Ask(labels.get(container, ""), labels.get(resource, ""), initial, limit)

    def _source(self, labels: Labels) -> frozenset[tuple[str, str]]:
        """Who told it, as far as labels say: all of them but those that tell what."""
        what = {self._names.here(label) for label in (*_OF_A_POD, "resource", "unit")} | {"__name__"}
        return frozenset((label, text) for label, text in labels.items() if label not in what)


def _overhead(resource: str) -> Callable[[Labels], Ask]:
    return lambda labels: Ask("", resource)


def _looked_at(span: Span) -> str:
    return f"[{milliseconds(span.end - span.start)}:{milliseconds(span.step)}]"


def _label(annotation: str) -> str:
    """What kube-state-metrics makes of an annotation's name."""
    return "annotation_" + "".join(c if c.isalnum() else "_" for c in annotation)


def _changes(told: Iterable[tuple[int, Ask, float]]) -> Changes:
    by_instant: defaultdict[int, dict[Ask, float]] = defaultdict(dict)
    for at, ask, value in told:
        by_instant[at][ask] = value
    found: Changes = []
    for at, asked in sorted(by_instant.items()):
        if not found or found[-1][1] != asked:
            found.append((at, asked))
    return found
