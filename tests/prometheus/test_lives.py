"""From what was seen of a pod at scrapes to its life: what is exact, what is estimated, and within what bound."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd
from hubquota.prometheus.answers import Series
from hubquota.prometheus.lives import Life
from hubquota.prometheus.resources import Resources
from hubquota.prometheus.scrapes import Scrapes, joined, widened, without
from hubquota.prometheus.sightings import Ask, Sighting
from hubquota.prometheus.slugs import Users
from tests.bench import names

S = 1_000_000
GAP = 300 * S
NOTEBOOK = Ask("notebook", "memory")


def scraped(*stretches: tuple[int, int], every: int = 30, gap: int = GAP) -> Scrapes:
    """Scrapes of one server, in seconds."""
    scrapes = Scrapes(gap)
    times = [float(at) for start, end in stretches for at in range(start, end + 1, every)]
    told = [Series({}, [(0, at) for at in times])]
    scrapes.measure(told)
    scrapes.take(told, 10_000 * S, speaks=True)
    return scrapes


def seen(first: int, last: int, **more: Any) -> Life:  # noqa: ANN401 - any field of a sighting
    """A life that was seen alive from one scrape to another, in seconds."""
    told = {"alive": last * S, "scheduled": (first - 7) * S} | more
    sighting = Sighting("u", "pod", "node", first * S, last * S, **told)
    life = Life(sighting)
    life.see(sighting, [])
    return life


def test_a_pod_that_is_missing_at_the_next_scrape_ended_between_the_two() -> None:
    assert seen(100, 400).end(scraped((100, 1000)), final=False) == PodEnd(400 * S, HowEnded.BACKFILL, 430 * S)


def test_a_pod_that_is_missing_for_a_few_scrapes_may_come_back() -> None:
    assert seen(100, 400).end(scraped((100, 700)), final=False) is None
    assert seen(100, 400).end(scraped((100, 730)), final=False) == PodEnd(400 * S, HowEnded.BACKFILL, 430 * S)
    assert seen(100, 400).end(scraped((100, 700)), final=True) == PodEnd(400 * S, HowEnded.BACKFILL, 430 * S)


def test_where_nobody_scraped_nothing_ended() -> None:
    assert seen(100, 400).end(scraped((100, 400)), final=True) is None


def test_after_a_hole_an_end_may_be_anywhere_in_it() -> None:
    found = seen(100, 400).end(scraped((100, 400), (4000, 5000)), final=False)
    assert found == PodEnd(400 * S, HowEnded.BACKFILL, 4000 * S)


def test_a_scrape_by_another_server_in_between_says_nothing_of_the_end() -> None:
    scrapes = Scrapes(GAP)
    told = [Series({"instance": str(n)}, [(0, float(at)) for at in range(100 + 10 * n, 2000, 30)]) for n in range(3)]
    scrapes.measure(told)
    scrapes.take(told, 10_000 * S, speaks=True)
    found = seen(100, 400).end(scrapes, final=False)
    assert (scrapes.interval, scrapes.shortest) == (30 * S, 30 * S)
    assert found == PodEnd(400 * S, HowEnded.BACKFILL, 430 * S)


@pytest.mark.parametrize("completed", [93, 400, 415, 435])
def test_the_end_that_the_kubelet_wrote_is_exact(completed: int) -> None:
    life = seen(100, 400, finished=430 * S, completed=completed * S)
    assert life.end(scraped((100, 500)), final=False) == PodEnd(completed * S, HowEnded.BACKFILL)


@pytest.mark.parametrize("completed", [None, 92 * S, 436 * S, 4030 * S])
def test_an_end_that_cannot_be_is_estimated(completed: int | None) -> None:
    life = seen(100, 400, finished=430 * S, completed=completed)
    assert life.end(scraped((100, 500)), final=False) == PodEnd(400 * S, HowEnded.BACKFILL, 430 * S)


def test_the_end_of_a_container_that_is_restarted_is_none() -> None:
    assert seen(100, 400, completed=200 * S).end(scraped((100, 430)), final=False) is None


def test_the_end_of_a_notebook_beside_a_sidecar_is_the_earliest_that_the_pod_can_have_ended() -> None:
    life = seen(100, 400, finished=430 * S, completed=410 * S, sidecars={"sync"})
    assert life.end(scraped((100, 500)), final=False) == PodEnd(410 * S, HowEnded.BACKFILL, 430 * S)


def test_a_pod_that_was_shown_first_when_it_had_finished_is_exact_all_the_same() -> None:
    sighting = Sighting("u", "p", "n", 100 * S, 400 * S, finished=100 * S, scheduled=71 * S, completed=95 * S)
    assert Life(sighting).end(scraped((100, 500)), final=False) == PodEnd(95 * S, HowEnded.BACKFILL)


@pytest.mark.parametrize(
    ("told", "start"),
    [
        ({"scheduled": 93 * S, "started": 95 * S}, 93),
        ({"scheduled": None, "started": 95 * S}, 95),
        ({"scheduled": None}, 100),
        ({"scheduled": 101 * S}, 100),
    ],
)
def test_a_pod_was_placed_when_its_condition_says_else_when_it_was_taken_up_else_when_it_was_seen(
    told: dict[str, Any], start: int
) -> None:
    assert seen(100, 400, **told).start == start * S


def record(life: Life, end: PodEnd | None = None, **marks: str) -> Any:  # noqa: ANN401
    told = {"hub.jupyter.org/username": "alice"} | marks
    return life.record("hub", "default", told, Resources(), end)


def held(life: Life, end: PodEnd | None = None) -> list[tuple[str, int, int, int | None]]:
    found = record(life, end).segments
    return [(s.resource, s.request, s.start // S, s.end and s.end // S) for s in found if s.resource != "servers"]


def test_a_server_holds_what_its_containers_ask_for() -> None:
    asked = {
        NOTEBOOK: 2.0**30,
        Ask("notebook", "cpu"): 0.1,
        Ask("notebook", "nvidia_com_gpu"): 1.0,
        Ask("notebook", "cpu", limit=True): 2.0,
        Ask("proxy", "memory", limit=True): 7.0,
        Ask("", "memory"): 1000.0,
    }
    found = held(seen(100, 400, most=asked))
    assert found == [("cpu", 100, 93, None), ("memory", 2**30 + 1007, 93, None), ("nvidia.com/gpu", 1000, 93, None)]
    assert [s.request for s in record(seen(100, 400)).segments] == [1000]


def test_containers_that_run_before_count_where_they_need_more_and_sidecars_always() -> None:
    asked = {NOTEBOOK: 10.0, Ask("unpack", "memory", initial=True): 13.0, Ask("sync", "memory", initial=True): 2.0}
    assert held(seen(100, 400, most=asked)) == [("memory", 13, 93, None)]
    assert held(seen(100, 400, most=asked | {NOTEBOOK: 12.0}, sidecars={"sync"})) == [("memory", 14, 93, None)]


def test_a_resize_counts_from_the_scrape_that_showed_it() -> None:
    first = Sighting("u", "p", "n", 100 * S, 400 * S, alive=400 * S, scheduled=93 * S)
    first.most, first.least = {NOTEBOOK: 3.0}, {NOTEBOOK: 1.0}
    life = Life(first)
    assert life.has_resized(first)
    life.see(first, [(100 * S, {NOTEBOOK: 1.0}), (220 * S, {NOTEBOOK: 3.0})])
    later = Sighting("u", "p", "n", 430 * S, 700 * S, most={NOTEBOOK: 3.0}, least={NOTEBOOK: 3.0})
    assert not life.has_resized(later)
    life.see(later, [])
    grown = Sighting("u", "p", "n", 730 * S, 900 * S, most={NOTEBOOK: 4.0}, least={NOTEBOOK: 4.0})
    assert life.has_resized(grown)
    life.see(grown, [(730 * S, {NOTEBOOK: 4.0})])
    assert held(life, PodEnd(905 * S, HowEnded.BACKFILL)) == [
        ("memory", 1, 93, 220),
        ("memory", 3, 220, 730),
        ("memory", 4, 730, 905),
    ]


@pytest.mark.parametrize(
    ("value", "marks"),
    [(-1.0, {}), (1e300, {}), (1.0, {"primehub.io/usage": "{"}), (1.0, {"hubquota.dev/groups": "5"})],
)
def test_a_pod_that_makes_no_sense_is_set_aside(value: float, marks: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        record(seen(100, 400, most={NOTEBOOK: value}), **marks)


def test_annotations_count_as_they_were_first_seen() -> None:
    sighting = Sighting("u")
    sighting.mark({"hub.jupyter.org/username": "mallory"}, 200)
    sighting.mark({"hub.jupyter.org/username": "alice"}, 100)
    sighting.mark({}, 50)
    sighting.mark({"hub.jupyter.org/username": "eve"}, 300)
    assert Life(sighting).marks(Users("safe", ())) == {"hub.jupyter.org/username": "alice"}


def test_a_label_counts_only_where_no_annotation_does() -> None:
    users = Users("safe", ())
    labelled = Sighting("u", user_label="bob", server_label="gpu")
    told = {"hub.jupyter.org/username": "bob", "hub.jupyter.org/servername": "gpu"}
    assert Life(labelled).marks(users) == told
    labelled.mark({"hubquota.dev/group": "g"}, 1)
    assert Life(labelled).marks(users) == {"hubquota.dev/group": "g"}
    assert Life(Sighting("u")).marks(users) == {}


@pytest.mark.parametrize("user", names.ODD)
def test_a_label_leads_back_to_its_user_or_to_nobody(user: str) -> None:
    label = names.label(user)
    assert Users("safe", names.ODD).of(label) == user
    assert Users("safe", ()).of(label) in (user, None)
    assert Users("off", names.ODD).of(label) is None


@pytest.mark.parametrize("user", names.ODD)
def test_an_older_label_leads_back_to_its_user_or_to_nobody(user: str) -> None:
    from kubespawner.slugs import escape_slug

    found = Users("escape", ()).of(escape_slug(user))
    assert found == user or (found is None and user == "tab\there")


@given(st.text(max_size=20))
def test_no_label_leads_to_two_users(user: str) -> None:
    from kubespawner.slugs import is_valid_label, safe_slug

    found = Users("safe", [user, *names.ODD]).of(safe_slug(user, is_valid=is_valid_label))
    assert found == user or not user


@pytest.mark.parametrize("label", ["alice-2", "-c3", "Alice", "-2D", "-61", ""])
def test_what_the_older_way_never_wrote_leads_to_nobody(label: str) -> None:
    assert Users("escape", ()).of(label) is None


def test_names_of_resources_come_back_where_only_one_is_written_so() -> None:
    resources = Resources(["example.org/a-b", "example.org/a.b", "example.org/tape-drive"])
    told = ["cpu", "nvidia_com_gpu", "nvidia_com_mig_1g_5gb", "nvidia_com_mig_1g_10gb_me", "example_org_tape_drive"]
    assert [resources.name(t) for t in told] == [
        "cpu",
        "nvidia.com/gpu",
        "nvidia.com/mig-1g.5gb",
        "nvidia.com/mig-1g.10gb.me",
        "example.org/tape-drive",
    ]
    assert [resources.name(t) for t in ("example_org_a_b", "who_knows", "ephemeral_storage", "hugepages_2Mi")] == [
        None
    ] * 4
    assert resources.unknown == {"example_org_a_b", "who_knows"}


def test_stretches_with_a_hole_between_them_are_two() -> None:
    scrapes = scraped((0, 600), (900, 1500), (1801, 2401))
    assert scrapes.seen == [(0, 1500 * S), (1801 * S, 2401 * S)]


def test_a_slow_scrape_is_no_hole() -> None:
    assert scraped((0, 6000), every=600).seen == [(0, 6000 * S)]


def test_scrapes_that_tell_not_what_has_to_be_known_are_not_seen() -> None:
    scrapes = scraped((0, 600))
    scrapes.take([Series({}, [(0, float(at)) for at in range(630, 2000, 30)])], 1980 * S, speaks=False)
    assert scrapes.seen == [(0, 600 * S)]
    assert scrapes.last == 1980 * S


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda t: (t[0], t[0] + t[1])), max_size=6))
def test_what_was_seen_and_what_was_not_make_up_the_whole(seen_of_it: list[tuple[int, int]]) -> None:
    whole, left = (10, 60), without((10, 60), seen_of_it)
    inside = [(max(a, 10), min(b, 60)) for a, b in joined(seen_of_it) if b > 10 and a < 60]
    parts = sorted([*left, *inside])
    assert parts[0][0] == whole[0]
    assert parts[-1][1] == whole[1]
    assert all(left[1] == right[0] for left, right in pairwise(parts))


@pytest.mark.parametrize(
    ("seen_of_it", "told"),
    [
        ([(105, 195)], [(100, 200)]),
        ([(111, 189)], [(111, 189)]),
        ([(50, 120), (150, 300)], [(100, 120), (150, 200)]),
        ([(50, 90)], []),
        ([(150, 150)], []),
        ([], []),
    ],
)
def test_what_was_seen_reaches_to_an_edge_where_no_scrape_is_missing(
    seen_of_it: list[tuple[int, int]], told: list[tuple[int, int]]
) -> None:
    assert widened(seen_of_it, (100, 200), 10) == told
