"""What came out of a storm, as a table, and where something is wrong as all that is needed to see it again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hubquota.domain.history import PodRecord
from tests.storm.comparing import Compared, Known
from tests.storm.kills import Kill
from tests.storm.plans import Way
from tests.storm.truth import Truth

#: Seconds of a storm for each kill: what parts need to come back, and to be of use until the next.
_SECONDS_A_KILL: Final = 1.7
#: Pods of a failed storm that are shown.
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Size:
    """What a storm is made of."""

    seed: int
    kills: int
    pods: int

    @property
    def seconds(self) -> float:
        """Within which all pods are made."""
        return max(10.0, self.kills * _SECONDS_A_KILL)


@dataclass(frozen=True)
class Judged:
    """Ledger and statuses beside the truth. ``lost``: pods whose end the API server had acknowledged, and lost.

    ``audit``: what ``hubquota ledger verify`` finds; None: it was not asked.
    """

    truths: Sequence[Truth]
    records: Sequence[PodRecord]
    compared: Compared
    statuses: Sequence[str]
    lost: Sequence[str]
    audit: Sequence[str] | None = None

    @property
    def faults(self) -> list[str]:
        """All that is wrong, in sentences."""
        names = {t.uid: t.plan.name for t in self.truths}
        pods = [f"{names.get(uid, uid)}: {'; '.join(told)}" for uid, told in self.compared.faults.items()]
        lost = [f"{name}: the API server lost its end" for name in self.lost]
        return [*pods, *self.statuses, *lost, *(self.audit or ())]


@dataclass(frozen=True)
class Result:
    """One storm. ``killed``: when, in seconds since 1970, by part; ``restarted``: how often each ended by itself."""

    size: Size
    wanted: Mapping[str, Sequence[Kill]]
    killed: Mapping[str, Sequence[float]]
    judged: Judged
    seconds: float
    restarted: Mapping[str, int]

    def table(self) -> Iterator[str]:
        """Markdown."""
        compared = self.judged.compared
        yield f"| seed {self.size.seed} | {self.seconds:.0f} s |"
        yield "| --- | --- |"
        kills = ", ".join(f"{len(at)} of {part}" for part, at in self.killed.items())
        yield f"| kills | {sum(map(len, self.killed.values()))}: {kills} |"
        ended = ", ".join(f"{count} of {part}" for part, count in self.restarted.items() if count)
        yield f"| ends of parts by themselves, started again | {ended or 'none'} |"
        yield f"| pods | {len(self.judged.truths)} |"
        yield f"| ends in the ledger that are wrong, rows that are there twice or astray | {len(compared.faults)} |"
        yield f"| users told another number than the ledger's | {len(self.judged.statuses)} |"
        yield f"| ends that the API server acknowledged and lost | {len(self.judged.lost)} |"
        audit = self.judged.audit
        yield f"| differences that `hubquota ledger verify` finds | {'not asked' if audit is None else len(audit)} |"
        yield f"| the widest bound of an estimate | {compared.widest:.1f} s |"
        yield f"| the latest that a pod was heard to be gone | {compared.latest:.1f} s |"
        yield ""
        yield from self._ways()

    def _ways(self) -> Iterator[str]:
        """How many pods of each way were known how."""
        yield f"| how a pod ended | pods | {' | '.join(Known)} |"
        yield f"| --- {'| --- ' * (1 + len(Known))}|"
        known = self.judged.compared.known
        for way in Way:
            counts = [known.get((way, kind), 0) for kind in Known]
            yield f"| {way} | {sum(counts)} | {' | '.join(str(count or '') for count in counts)} |"

    def failure(self) -> str:
        """What is wrong, and how to see it again."""
        return "\n".join(self._failure())

    def _failure(self) -> Iterator[str]:
        size = self.size
        again = f"python -m tests.storm --seed {size.seed} --kills {size.kills} --pods {size.pods}"
        yield f"{len(self.judged.faults)} faults; `{again}` makes the same pods and kills:"
        yield from self.judged.faults
        yield "kills (seconds from the beginning, + seconds until it is started again):"
        for part, kills in self.wanted.items():
            told = ", ".join(f"{k.at:.2f}+{k.down:.2f}{' hasty' if k.hasty else ''}" for k in kills)
            yield f"  {part}: {told}"
            yield f"  {part}, when: {', '.join(f'{at:.2f}' for at in self.killed[part])}"
        rows = {record.uid: record for record in self.judged.records}
        for truth in self.judged.truths:
            if truth.uid in list(self.judged.compared.faults)[:_SHOWN]:
                yield f"{truth}\n  {rows.get(truth.uid)}"
