"""A UserQuota's name is a valid one, plain where it can be, and no two users share it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.resources.names import user_quota_name

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@pytest.mark.parametrize("user", ["a", "alice", "alice-2", "a" * 53])
def test_a_plain_name_stays(user: str) -> None:
    assert user_quota_name(user) == user


@pytest.mark.parametrize(
    ("user", "slug"),
    [("Alice", "alice"), ("a--b", "a-b"), ("álice@uni.edu", "lice-uni-edu"), ("1234", "u-1234"), ("\u4e16", "u")],
)
def test_any_other_name_is_a_slug_and_a_hash(user: str, slug: str) -> None:
    assert re.fullmatch(rf"{slug}--[0-9a-f]{{12}}", user_quota_name(user))


@given(st.text(min_size=1, max_size=255))
def test_every_name_is_a_dns_label(user: str) -> None:
    assert DNS_LABEL.fullmatch(user_quota_name(user))


@given(st.text("aA-@1é", min_size=1, max_size=60), st.text("aA-@1é", min_size=1, max_size=60))
def test_two_users_never_share_a_name(one: str, other: str) -> None:
    assert (user_quota_name(one) == user_quota_name(other)) == (one == other)
