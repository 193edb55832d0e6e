"""What came out of a storm, as a table, and where something is wrong as all that is needed to see it again."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hubquota.domain.history import PodRecord
from tests.storm.comparing import Compared, Known
from tests.storm.kills import Kill
from tests.storm.plans import Way
from tests.storm.size import Size, kind_of
from tests.storm.truth import Truth

#: Pods of a failed storm that are shown.
_SHOWN: Final = 20


@dataclass(frozen=True)
class Judged:
    """One hub's part of the ledger, and its statuses, beside the truth.

    ``lost``: pods whose end the API server had acknowledged, and lost.
    """

    truths: Sequence[Truth]
    records: Sequence[PodRecord]
    compared: Compared
    statuses: Sequence[str]
    lost: Sequence[str]

    @property
    def faults(self) -> list[str]:
        """All that is wrong, in sentences."""
        names = {t.uid: t.plan.name for t in self.truths}
        pods = [f"{names.get(uid, uid)}: {'; '.join(told)}" for uid, told in self.compared.faults.items()]
        lost = [f"{name}: the API server lost its end" for name in self.lost]
        return [*pods, *self.statuses, *lost]


@dataclass(frozen=True)
class Result:
    """One storm. ``killed``: when, in seconds since 1970, by part; ``judged``: by hub.

    ``audit``: what ``hubquota ledger verify`` finds; ``restarted``: how often each kind of part ended by itself.
    """

    size: Size
    wanted: Mapping[str, Sequence[Kill]]
    killed: Mapping[str, Sequence[float]]
    judged: Mapping[str, Judged]
    audit: Sequence[str]
    seconds: float
    restarted: Mapping[str, int]

    @property
    def faults(self) -> list[str]:
        """All that is wrong, in sentences."""
        return [f"{hub}: {fault}" for hub, judged in self.judged.items() for fault in judged.faults] + list(self.audit)

    @property
    def kills(self) -> Counter[str]:
        """How often each kind of part was killed."""
        done: Counter[str] = Counter()
        for part, at in self.killed.items():
            done[kind_of(part)] += len(at)
        return done

    @property
    def pods(self) -> int:
        """How many were made."""
        return sum(len(judged.truths) for judged in self.judged.values())

    def table(self) -> Iterator[str]:
        """Markdown."""
        compared = [judged.compared for judged in self.judged.values()]
        yield f'| `make storm STORM="{self.size}"` | {self.seconds:.0f} s |'
        yield "| --- | --- |"
        yield f"| kills | {self.kills.total()}: {_counted(self.kills)} |"
        yield f"| ends of parts by themselves, started again | {_counted(self.restarted) or 'none'} |"
        yield f"| pods | {self.pods} |"
        wrong = sum(len(one.faults) for one in compared)
        yield f"| ends in the ledger that are wrong, rows that are there twice or astray | {wrong} |"
        told = sum(len(judged.statuses) for judged in self.judged.values())
        yield f"| users told another number than the ledger's | {told} |"
        lost = sum(len(judged.lost) for judged in self.judged.values())
        yield f"| ends that the API server acknowledged and lost | {lost} |"
        yield f"| differences that `hubquota ledger verify` finds | {len(self.audit)} |"
        yield f"| the furthest that an end to the second is off | {_most(c.furthest for c in compared)} |"
        yield f"| the widest bound of an estimate | {_most(c.widest for c in compared)} |"
        yield f"| the latest that a pod was heard to be gone | {_most(c.latest for c in compared)} |"
        yield ""
        yield from self._ways()

    def _ways(self) -> Iterator[str]:
        """How many pods of each way were known how."""
        yield f"| how a pod ended | pods | {' | '.join(Known)} |"
        yield f"| --- {'| --- ' * (1 + len(Known))}|"
        known: Counter[tuple[Way, Known]] = Counter()
        for judged in self.judged.values():
            known.update(judged.compared.known)
        for way in Way:
            counts = [known[way, kind] for kind in Known]
            yield f"| {way} | {sum(counts)} | {' | '.join(str(count or '') for count in counts)} |"

    def failure(self) -> str:
        """What is wrong, and how to see it again."""
        return "\n".join(self._failure())

    def _failure(self) -> Iterator[str]:
        yield f"{len(self.faults)} faults; `python -m tests.storm {self.size}` makes the same pods and kills:"
        yield from self.faults
        yield "kills (seconds from the beginning, + seconds until it is started again):"
        for part, kills in self.wanted.items():
            told = ", ".join(f"{k.at:.2f}+{k.down:.2f}{' hasty' if k.hasty else ''}" for k in kills)
            yield f"  {part}: {told}"
            yield f"  {part}, when: {', '.join(f'{at:.2f}' for at in self.killed[part])}"
        for judged in self.judged.values():
            rows = {record.uid: record for record in judged.records}
            shown = [t for t in judged.truths if t.uid in judged.compared.faults][:_SHOWN]
            yield from (f"{truth}\n  {rows.get(truth.uid)}" for truth in shown)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {kind}" for kind, count in counts.items() if count)


def _most(seconds: Iterable[float]) -> str:
    return f"{max(seconds):.1f} s"
