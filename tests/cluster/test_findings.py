"""A look at a policy's users finds names that nobody has, what nobody asked for, and what has no price."""

from hubquota.cluster.findings import Findings, Looks, look
from hubquota.domain.history import HowEnded, PodEnd
from hubquota.domain.measure import Measure, credits_by
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.windows import DAY, SECOND
from tests.domain.histories import policy
from tests.ledger.pods import holding, pod

NOW = 30 * DAY
CPU = policy("cpu", measure=Measure("cpu"))


def meter(*resources: str, ended: int = NOW - DAY, covered_since: int = 0) -> Meter:
    made = Meter(covered_since)
    held = dict.fromkeys((*resources, "servers"), 1000)
    end = PodEnd(ended, HowEnded.CONTAINERS)
    made.take([pod(at=ended, scheduled=ended - DAY, segments=holding(ended - DAY, held, ended), end=end)])
    return made


def found(of: Policy, with_meter: Meter, covered: tuple[str, ...] = ("alice",)) -> Findings:
    return look(of, with_meter, covered, {"alice"}, {"staff"}, NOW)


def test_what_somebody_asked_for_lately_is_metered() -> None:
    assert found(CPU, meter("cpu", "memory")).metered is True
    assert found(CPU, meter("memory")).metered is False
    assert found(CPU, meter("cpu", ended=NOW - 8 * DAY)).metered is False
    assert found(CPU, meter("cpu"), covered=("bob",)).metered is False


def test_of_a_hub_that_nobody_has_used_yet_nothing_is_said() -> None:
    assert found(CPU, Meter(NOW - DAY)).metered is None
    assert found(CPU, meter("memory", covered_since=NOW - DAY)).metered is False


def test_what_is_held_without_a_price_is_named() -> None:
    priced = policy("c", measure=credits_by({"memory": "1", "nvidia.com/gpu": "30"}))
    assert found(priced, meter("cpu", "memory", "x.org/fpga")).unweighted == ("cpu", "x.org/fpga")
    assert found(priced, meter("cpu")) == Findings(metered=False, unweighted=("cpu",))


def test_names_that_nobody_has_are_named() -> None:
    scope = Scope(users=frozenset({"alice", "Alice"}), groups=frozenset({"staff", "stuff"}))
    assert found(policy(scope=scope), meter("memory")).unknown == ("Alice", "stuff")


def test_servers_at_once_and_storage_need_no_requests() -> None:
    for measure in ("servers", "storage"):
        assert found(policy(window=None, measure=Measure(measure)), meter()).metered is True


def test_a_look_is_taken_again_when_it_may_find_something_else() -> None:
    looks = Looks(lambda _: ("alice",))
    names = ({"alice"}, set[str]())

    def at(now: int, with_meter: Meter, of: Policy = CPU) -> bool | None:
        return looks.at(of, with_meter, lambda: names, now).metered

    assert at(NOW, meter()) is False
    assert at(NOW + 29 * SECOND, meter("cpu")) is False
    assert at(NOW + 30 * SECOND, meter("cpu")) is True
    assert at(NOW + 600 * SECOND, meter()) is True
    assert at(NOW + 601 * SECOND, meter(), policy("cpu", 5, measure=Measure("cpu"))) is False
