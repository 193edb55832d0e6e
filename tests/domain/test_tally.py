"""A policy knows whom it holds for, who is near its end, and what outranks it, whatever order it hears in."""

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.policy import Combine, Enforcement, Policy
from hubquota.domain.standing import standing
from hubquota.domain.tally import Summary, Tally
from hubquota.domain.windows import HOUR
from tests.domain.histories import NOBODY, holdings, policy

LOW, HIGH = policy("low", 10 * HOUR), policy("high", 20 * HOUR)
OVERRIDE = policy("vip", None, combine=Combine.OVERRIDE)


def told(tally: Tally, user: str, used: int, *policies: Policy) -> set[str]:
    held = holdings([({"memory": used}, 0, HOUR)])
    return tally.take(user, standing(policies, user, NOBODY, held, HOUR))


def counts(summary: Summary) -> tuple[int, int, int]:
    return summary.users, summary.near, summary.exhausted


def test_a_tally_follows_each_user_from_standing_to_standing() -> None:
    tally = Tally()
    assert told(tally, "a", 1, LOW) == {"low"}
    assert told(tally, "a", 1, LOW) == set()
    told(tally, "b", 9, LOW)
    assert counts(tally.summary("low")) == (2, 1, 0)
    told(tally, "b", 10, LOW)
    assert counts(tally.summary("low")) == (2, 0, 1)
    told(tally, "a", 1)
    tally.forget_user("b")
    assert counts(tally.summary("low")) == (0, 0, 0)


def test_a_policy_that_decides_nothing_names_what_outranks_it() -> None:
    tally = Tally()
    told(tally, "a", 1, LOW, HIGH)
    assert (tally.summary("high").deciding, tally.summary("high").outranking) == (0, ["low"])
    assert (tally.summary("low").deciding, tally.summary("low").outranking) == (1, [])
    told(tally, "a", 1, LOW, HIGH, OVERRIDE)
    assert tally.summary("low").outranking == ["vip"]


def test_policies_that_disagree_are_in_conflict() -> None:
    tally = Tally()
    told(tally, "a", 1, LOW, policy("sum", 20 * HOUR, combine=Combine.SUM))
    assert (tally.summary("low").conflicting, tally.summary("sum").conflicting) == (1, 1)


def test_an_observed_policy_is_counted_for_itself() -> None:
    tally = Tally()
    told(tally, "a", 15, LOW, policy("shadow", 20 * HOUR, enforcement=Enforcement.OBSERVE))
    assert (counts(tally.summary("low")), counts(tally.summary("shadow"))) == ((1, 0, 1), (1, 0, 1))
    assert tally.summary("shadow").outranking == ["low"]


def test_a_pool_counts_its_users() -> None:
    tally = Tally()
    told(tally, "a", 1, policy("pool", shared=True))
    assert counts(tally.summary("pool")) == (1, 0, 0)


def test_the_heaviest_users_come_first() -> None:
    tally = Tally()
    for i, used in enumerate([3, 0, 7, 5, 1, 2, 4]):
        told(tally, f"u{i}", used, HIGH)
    assert [user for user, _ in tally.heaviest("high")] == ["u2", "u3", "u6", "u0", "u5"]
    assert tally.heaviest("high")[0] == ("u2", 7 * HOUR)


def test_the_heaviest_are_told_as_they_are_now_whoever_comes_goes_or_uses_less() -> None:
    tally = Tally()
    for user in "abcdefg":
        told(tally, user, 5, HIGH)
    assert [user for user, _ in tally.heaviest("high")] == [*"abcde"]
    told(tally, "g", 6, HIGH)
    assert [user for user, _ in tally.heaviest("high")] == [*"gabcd"]
    told(tally, "b", 1, HIGH)
    assert [user for user, _ in tally.heaviest("high")] == [*"gacde"]
    tally.forget_user("a")
    assert [user for user, _ in tally.heaviest("high")] == [*"gcdef"]
    told(tally, "c", 5)
    assert [user for user, _ in tally.heaviest("high")] == [*"gdefb"]
    tally.forget("high")
    assert tally.heaviest("high") == []


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9), st.booleans())))
def test_the_heaviest_are_those_that_would_be_found_anew(story: list[tuple[str, int, bool]]) -> None:
    tally = Tally()
    for user, used, there in story:
        told(tally, user, used, HIGH) if there else tally.forget_user(user)
        found = tally.heaviest("high")
        anew = {name: held["high"].used or 0 for name, held in tally._marks.items()}
        best = sorted(((-amount, name) for name, amount in anew.items() if amount))[:5]
        assert found == [(name, -amount) for amount, name in best]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sets(st.sampled_from([LOW, HIGH, OVERRIDE])))))
def test_what_came_before_leaves_no_trace(story: list[tuple[str, int, set[Policy]]]) -> None:
    tally, fresh = Tally(), Tally()
    last = {}
    for user, used, policies in story:
        told(tally, user, used, *policies)
        last[user] = (used, policies)
    for user, (used, policies) in last.items():
        told(fresh, user, used, *policies)
    for name in ("low", "high", "vip"):
        mine, other = tally.summary(name), fresh.summary(name)
        assert counts(mine) == counts(other)
        assert (mine.deciding, mine.outranking) == (other.deciding, other.outranking)
