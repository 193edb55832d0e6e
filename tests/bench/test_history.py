"""A made-up hub has what real ones have, the same each time, and its pods are told as Kubernetes tells them."""

import itertools
from collections import Counter, defaultdict

from hubquota.cluster.observing import observed
from hubquota.domain.pods import allocation
from tests.bench import names
from tests.bench.history import DAY, Ending, Hub, Life
from tests.bench.objects import moments, sight
from tests.bench.profiles import PROFILES

HUB = Hub(users=200, days=10)
LIVES = list(HUB.lives())


def test_a_hub_is_the_same_each_time_and_another_with_another_seed() -> None:
    assert list(HUB.lives()) == LIVES
    assert list(Hub(users=200, days=10, seed=2).lives()) != LIVES


def test_one_user_s_pods_can_be_had_without_the_others() -> None:
    member = HUB.members()[7]
    assert list(HUB.lives_of(7, member)) == [life for life in LIVES if life.user == member.name]


def test_everything_happens_that_happens_in_hubs() -> None:
    seen = Counter[str]()
    for life in LIVES:
        seen[life.ending] += 1
        seen["running"] += life.placed is not None and life.ended is None
        seen["never placed"] += life.placed is None and life.gone is not None
        seen["resized"] += bool(life.resizes)
        seen["restarted"] += life.restarted is not None
        seen["a child"] += life.user is not None and life.server is None
        seen["a named server"] += bool(life.server)
        seen["nobody's"] += life.user is None
        seen["for a chosen group"] += life.chosen is not None
        seen["lingering"] += bool(life.gone and life.ended and life.gone - life.ended > DAY)
        seen["seconds only"] += bool(life.placed and life.ended and life.ended - life.placed < 60)
    expected = {*(e.value for e in Ending), "running", "never placed", "resized", "restarted", "a child"}
    expected |= {"a named server", "nobody's", "for a chosen group", "lingering", "seconds only"}
    assert {what for what, count in seen.items() if count} >= expected
    assert any(member.before != member.after for member in HUB.members())


def test_a_server_s_pods_come_one_after_the_other_under_one_name() -> None:
    by_name: defaultdict[str, list[Life]] = defaultdict(list)
    for life in LIVES:
        by_name[life.name].append(life)
    again = [sorted(lives, key=lambda life: life.created) for lives in by_name.values() if len(lives) > 1]
    assert len(again) > 50
    for lives in again:
        for earlier, later in itertools.pairwise(lives):
            assert earlier.gone is not None
            assert earlier.gone <= later.created


def test_names_are_unique_and_so_are_those_of_pods() -> None:
    users = names.users(5000)
    assert len(set(users)) == 5000
    assert len({names.pod_name(user, server) for user in users for server in ("", "a", "b" * 40)}) == 15_000


def test_what_a_profile_holds_is_what_its_pod_asks_for() -> None:
    for profile in PROFILES:
        assert allocation({"spec": profile.spec}) == profile.held, profile.name


def test_a_pod_is_heard_of_in_order_and_its_end_is_the_one_decided() -> None:
    for life in LIVES:
        heard = list(moments(life, HUB.until))
        assert [m.at for m in heard] == sorted(m.at for m in heard)
        last = observed(sight(life, heard[-1]), "default")
        assert (last is None) == (life.placed is None)
        if last is not None and life.ending in (Ending.FINISHED, Ending.DELETED) and heard[-1].at == life.ended:
            assert last.finished == (life.ended or 0) * 1_000_000
