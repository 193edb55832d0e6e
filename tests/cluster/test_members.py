"""A UserQuota counts if it is its user's; any other is told why it does not, and nothing takes the operator down."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.cluster.members import Members, ignored_status, read
from hubquota.domain.windows import HOUR
from hubquota.resources.names import user_quota_name
from hubquota.resources.user_quota import UserQuotaStatus


def body(name: str, spec: object, **more: object) -> dict[str, Any]:
    metadata = {"name": name, "uid": "u", "resourceVersion": "7", "generation": 2}
    return {"metadata": metadata | {"creationTimestamp": "2026-03-01T09:00:00Z"}, "spec": spec} | more


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["user", "groups", "groupsObservedAt", "x"]), inner, max_size=3)
    ),
)


@given(JSON)
def test_whatever_an_older_crd_let_through_is_read_and_told_what_is_wrong(spec: object) -> None:
    seen = read(body("alice", spec))
    if seen.ignored is None:
        assert user_quota_name(seen.user) == "alice"
    else:
        told = {k: v for k, v in ignored_status(seen, HOUR).items() if v is not None}
        assert UserQuotaStatus.model_validate(told).decision == "Ignored"


@given(st.text(min_size=1, max_size=255))
def test_no_name_reaches_a_status_raw(user: str) -> None:
    seen = read(body("zoe", {"user": user}))
    told = {k: v for k, v in ignored_status(seen, HOUR).items() if v is not None}
    read_back = UserQuotaStatus.model_validate(told)
    assert (read_back.summary + read_back.conditions[0].message).isprintable()


def test_a_name_that_is_not_its_user_s_says_which_it_should_be() -> None:
    seen = read(body("zoe", {"user": "Zoe"}))
    told = ignored_status(seen, HOUR)
    (ready,) = told["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "NameMismatch")
    assert f"must be named {user_quota_name('Zoe')}" in ready["message"]
    assert told["summary"].startswith("ignored: the UserQuota of user Zoe must be named")


def test_what_a_status_says_already_is_not_said_again() -> None:
    first = body("zoe", {"user": "Zoe"})
    told = ignored_status(read(first), HOUR)
    again = read(first | {"status": told})
    assert (read(first).says_so(), again.says_so()) == (False, True)
    assert ignored_status(again, 2 * HOUR)["conditions"] == told["conditions"]
    assert not read(body("zoe", {"user": "Zoe", "x": 1}, status=told)).says_so()


def test_one_that_stands_in_another_s_place_is_not_theirs() -> None:
    members = Members(10)
    members.take(read(body("alice", {"user": "bob"})))
    assert (members.of("alice"), members.of("bob"), members.users(), len(members)) == (None, None, set(), 1)


def test_a_user_s_groups_outlive_their_user_quota_and_go_into_the_next() -> None:
    members = Members(10)
    told = {"user": "alice", "groups": ["b", "a"], "groupsObservedAt": "2026-03-01T09:00:00Z"}
    members.take(read(body("alice", told)))
    members.drop("alice", remember=True)
    assert members.of("alice") is None
    assert members.groups("alice") == {"a", "b"}
    assert members.to_make("alice")["spec"] == told | {"groups": ["a", "b"]}


def test_the_groups_of_one_who_is_listed_go_into_the_first_user_quota_and_the_newer_word_holds() -> None:
    members = Members(10)
    members.list_all({"alice": ("a", "b"), "bob": ("b",)}, 10 * HOUR)
    assert members.to_make("alice")["spec"] == {
        "user": "alice",
        "groups": ["a", "b"],
        "groupsObservedAt": "1970-01-01T10:00:00Z",
    }
    assert members.to_make("carol")["spec"] == {"user": "carol"}
    for hour, groups in ((9, {"a", "b"}), (11, {"c"})):
        told = {"user": "alice", "groups": ["c"], "groupsObservedAt": f"1970-01-01T{hour:02}:00:00Z"}
        members.take(read(body("alice", told)))
        assert members.groups("alice") == {"c"}
        members.drop("alice", remember=True)
        assert members.groups("alice") == groups
    members.list_all({}, 12 * HOUR)
    assert members.groups("bob") == frozenset()


@pytest.mark.parametrize(("there", "under_way", "room"), [(0, 0, 2), (0, 1, 1), (1, 1, 0), (3, 0, 0)])
def test_half_of_the_room_is_kept_for_launches(there: int, under_way: int, room: int) -> None:
    members = Members(5)
    for name in "abc"[:there]:
        members.take(read(body(name, {"user": name})))
    for _ in range(under_way):
        members.making(1)
    assert members.room_for_listed() == room


@pytest.mark.parametrize(("there", "under_way", "full"), [(1, 0, False), (2, 0, True), (1, 1, True)])
def test_those_under_way_count(there: int, under_way: int, full: bool) -> None:
    members = Members(2)
    for name in "ab"[:there]:
        members.take(read(body(name, {"user": name})))
    for _ in range(under_way):
        members.making(1)
    assert members.full is full
