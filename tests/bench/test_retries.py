"""In a small hub every told retry time is right: refused a second before, allowed at it."""

import pytest

from tests.bench.history import Hub
from tests.bench.retries import MIXED, RULES, Rules, Trial, fitted

SMALL = Hub(users=50, days=10, seed=7)


@pytest.mark.parametrize("rules", [*RULES, MIXED], ids=lambda rules: rules.name)
def test_every_told_instant_is_the_first_at_which_a_launch_is_allowed(rules: Rules) -> None:
    found = Trial(SMALL, fitted(rules, SMALL)).run()
    assert found.launches > 300
    assert found.denied > found.counts["no time told, for none is foreseen"] > 0 or rules.name == "months"
    assert found.counts["with two quotas used up at once"] > 0


def test_where_a_server_stops_later_than_was_told_the_launch_is_refused_until_the_instant_told_anew() -> None:
    counts = Trial(SMALL, fitted(RULES[0], SMALL)).run().counts
    assert counts["stopped late: still refused at the old instant"] > 0
    assert counts["stopped late: the instant told anew is right"] > 0
