"""A small hub's usage is metered without any difference to the truth, and sampling by prefix is seen to be wrong."""

from tests.bench.accuracy import measure, sampled
from tests.bench.history import Hub

SMALL = Hub(users=60, days=10, seed=7)


async def test_usage_of_a_made_up_hub_is_metered_exactly_whatever_order_it_is_heard_in() -> None:
    report = await measure(SMALL, pools_first=True)
    assert {name: sorted(w.users) for name, w in report.wrong.items() if w.users} == {}
    assert {name: sorted(w.users) for name, w in report.cold.items() if w.users} == {}
    assert report.observations > 3 * report.pods > 1000


def test_sampling_by_the_prefix_of_a_pod_s_name_charges_users_for_others_pods() -> None:
    found = sampled(SMALL)
    assert found.others > 1
    assert found.missed > 1
