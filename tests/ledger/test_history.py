"""A record that no ledger could keep is refused when it is made, not when it is written with its neighbours."""

from typing import Any

import pytest

from hubquota.domain.history import LARGEST, HowEnded, PodEnd, SegmentRecord
from tests.ledger.pods import pod


@pytest.mark.parametrize("amount", [-1, LARGEST + 1])
def test_an_amount_that_is_negative_or_absurd_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="request of cpu"):
        SegmentRecord("cpu", amount, None, 0)
    with pytest.raises(ValueError, match="limit of cpu"):
        SegmentRecord("cpu", 1, amount, 0)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"end": PodEnd(49, HowEnded.DELETED)}, "before it was placed"),
        ({"first_seen": 200}, "before 200"),
        ({"user": "a\0b"}, "NUL"),
        ({"groups": ("a\0b",)}, "NUL"),
        ({"scheduled": -1}, "scheduled"),
    ],
)
def test_a_pod_that_contradicts_itself_is_refused(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        pod(**fields)


def test_an_end_is_not_bounded_by_what_was_before_it() -> None:
    with pytest.raises(ValueError, match="before it"):
        PodEnd(100, HowEnded.LAST_SEEN, 99)


def test_a_chosen_group_alone_is_charged() -> None:
    assert pod(groups=("b", "a", "b")).charged_groups == ("a", "b")
    assert pod(groups=("a", "b"), chosen_group="b").charged_groups == ("b",)
