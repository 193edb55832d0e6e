"""What fails on a real API server leads to what failover_open says, with each JupyterHub, which lives on."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub.conftest import WAITING
from tests.hub.launching import at_once, logged_in
from tests.hub.unattended import Unattended
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import HubRunner
from tests.testbed.line import Line
from tests.testbed.patience import PATIENCE, until
from tests.testbed.stage import policy
from tests.testbed.z2jh import hooked

pytestmark = [pytest.mark.cluster, pytest.mark.hub]
#: An admin's own hook, on the class that z2jh's values name; and what tests look at.
ADMINS = """
c.KubeSpawner.pre_spawn_hook = lambda spawner: spawner.extra_annotations.update({"theirs/hook": "ran"})
c.JupyterHub.authenticate_prometheus = False
c.JupyterHub.cleanup_servers = False
c.KubeSpawner.start_timeout = 3600  # nobody runs the pods
"""
#: Of a hub without profiles there is no form: whoever opens the page of a launch has begun it.
NO_FORM = "c.KubeSpawner.profile_list = []\n"
#: What a test has arranged holds for the next launch: else what all launches share may be older.
AT_ONCE = """
import hubquota_hook
hubquota_hook._AGAIN_SECONDS = hubquota_hook._POLICIES_SECONDS = hubquota_hook._HEARTBEAT_SECONDS = 0.0
"""
#: Whether launches go on where no answer can be had, and how the hub answers who asks for one: as z2jh has it, or when
#: it knows what came of it.
HUBS = {"open": (True, ""), "closed": (False, ""), "waiting": (False, WAITING + NO_FORM)}
WORDS = "Your quota cannot be read at the moment, so no server can be started. Please try again in a minute."


@pytest.fixture(scope="module")
def unattended(api: ControlPlane, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unattended]:
    """The hubs, which have started without rights, CRDs and operator."""
    namespace, folder = f"t-{secrets.token_hex(4)}", tmp_path_factory.mktemp("unattended")
    api.make_namespace(namespace)
    with Line(api.url) as line:
        made = Unattended(api, namespace, line)
        for name, (is_open, way) in HUBS.items():
            hook = hooked(folder / name, failover_open=is_open, timeout=10, first_launch_timeout=1) + AT_ONCE
            made.add(name, folder / name, ADMINS + way + hook, python)
        try:
            with made.without_rights(), made.without_crds():
                for hub in made.hubs.values():
                    hub.start()
            _first_launches(made)
            yield made
        finally:
            for hub in made.hubs.values():
                hub.stop()
            api.end_namespace(namespace)


def _first_launches(world: Unattended) -> None:
    """Whichever failure comes first: KubeSpawner lists pods at a first launch, and that can hang for ever."""
    for name, status in (("open", 202), ("closed", 202), ("waiting", 424)):
        assert world.hubs[name].begin(f"earlier-{name}")[0] == status
    until(lambda: world.has_pod("earlier-open"), world.hubs["open"].program.last_words)


def never_there(world: Unattended) -> Iterator[None]:
    world.stop_beating()
    yield


def stopped_for_long(world: Unattended) -> Iterator[None]:
    world.beat(age=400)
    yield


def clock_skew(world: Unattended) -> Iterator[None]:
    world.beat(age=-1000)
    yield


def rights_taken(world: Unattended) -> Iterator[None]:
    world.beat()
    with world.without_rights():
        yield


def no_crds(world: Unattended) -> Iterator[None]:
    with world.without_crds():
        yield


def hanging(world: Unattended) -> Iterator[None]:
    world.line.stall()
    try:
        yield
    finally:
        world.line.mend()


def away(world: Unattended) -> Iterator[None]:
    world.line.cut()
    try:
        yield
    finally:
        world.line.mend()


def malformed(world: Unattended) -> Iterator[None]:
    world.beat()
    with world.without_schema():
        for name in HUBS:
            world.user_quota(f"malformed-{name}", {"observedGeneration": 1, "quotas": [{"resource": 3, "limit": []}]})
    yield


def unanswered(world: Unattended) -> Iterator[None]:
    limit = {"value": 1, "unit": "GiB-hours"}
    pool = policy(
        "pool",
        scope={"users": [f"unanswered-{name}" for name in HUBS]},
        resource="memory",
        limit=limit,
        window={"rolling": "7d"},
        sharing="Shared",
    )
    world.beat()
    world.apply(pool)
    yield


FAILURES: dict[str, tuple[Callable[[Unattended], Iterator[None]], str, str]] = {
    "never-there": (never_there, "heartbeat", "is not there: see whether hubquota's operator runs and serves"),
    "hanging": (hanging, "timeout", "the API server has not answered within 10 s: see whether it is overloaded"),
    "stopped": (stopped_for_long, "heartbeat", "s old: see whether hubquota's operator runs, and whether its clock"),
    "skew": (clock_skew, "clock", "ahead of the API server's clock: set the clocks of their nodes"),
    "no-rights": (rights_taken, "forbidden", "may not read /apis/.*: apply hubquota's Role for the hub"),
    "away": (away, "unreachable", "the API server cannot be reached .*: see whether it is up, and whether the hub's"),
    "no-crds": (no_crds, "crds", "is not there: apply hubquota's CRDs"),
    "malformed": (malformed, "malformed", "UserQuota malformed-.*, or a QuotaPolicy, cannot be read"),
    "unanswered": (unanswered, "unanswered", "the operator has not answered for 'unanswered-.*' in 1 s: see its log"),
}


def while_it_lasts(world: Unattended, failure: str) -> AbstractContextManager[None]:
    return contextmanager(FAILURES[failure][0])(world)


def lines_of(hub: HubRunner, name: str) -> list[str]:
    return [line for line in hub.program.log.read_text().splitlines() if f"the launch of '{name}'" in line]


def has_lines_of(hub: HubRunner, name: str) -> bool:
    return bool(lines_of(hub, name))


def counted(hub: HubRunner, name: str, cause: str) -> float:
    told = httpx.get(f"{hub.url}/hub/metrics", timeout=10).text
    found = re.search(rf'hubquota_hook_{name}_total{{cause="{cause}"}} ([\d.]+)', told)
    return float(found[1]) if found else 0


def test_a_hub_starts_without_rights_crds_and_operator(unattended: Unattended) -> None:
    for hub in unattended.hubs.values():
        assert hub.program.running
        assert "hubquota" not in hub.program.log.read_text().partition("Running JupyterHub version")[0]


@pytest.mark.parametrize("failure", FAILURES)
def test_each_failure_lets_launches_go_on_or_refuses_them_and_one_line_says_what_to_mend(
    unattended: Unattended, failure: str
) -> None:
    _, cause, words = FAILURES[failure]
    with while_it_lasts(unattended, failure):
        begun = {name: hub.begin(f"{failure}-{name}") for name, hub in unattended.hubs.items()}
        for name, hub in unattended.hubs.items():
            until(partial(has_lines_of, hub, f"{failure}-{name}"), hub.program.last_words)
    if failure != "away":  # KubeSpawner gives up at once then
        until(lambda: unattended.has_pod(f"{failure}-open"), unattended.hubs["open"].program.last_words)
    assert {name: status for name, (status, _) in begun.items()} == {"open": 202, "closed": 202, "waiting": 424}
    assert begun["waiting"][1]["message"] == WORDS
    last = unattended.hubs["closed"].progress(f"{failure}-closed")[-1]
    assert last["failed"]
    assert WORDS in last["message"]
    for name in HUBS:
        is_as_said(unattended, name, f"{failure}-{name}", cause, words)


def is_as_said(world: Unattended, name: str, user: str, cause: str, words: str) -> None:
    """A hub lives on, and has told of its one launch of a user what became of it and why."""
    hub, is_open = world.hubs[name], HUBS[name][0]
    [line] = lines_of(hub, user)
    assert re.search(f"{'goes on' if is_open else 'is refused'} without an answer: .*{words}", line), line
    assert counted(hub, "failed_open" if is_open else "failed_closed", cause) >= 1
    assert is_open or not world.has_pod(user)
    # As JupyterHub 5 says before it ends itself; these tests refuse more than five in a row.
    assert "consecutive spawn" not in hub.program.log.read_text()
    assert hub.program.running


def test_a_hub_as_z2jh_sets_it_up_says_so_in_the_progress_and_on_the_page_after_it(unattended: Unattended) -> None:
    hub = unattended.hubs["closed"]
    with while_it_lasts(unattended, "never-there"):
        last = hub.launch("told-closed")[-1]
    assert last["failed"]
    assert WORDS in last["message"]
    assert f"<p>{WORDS}</p>" in last["html_message"]
    with logged_in(hub, "told-closed") as browser:
        page = browser.get("/hub/spawn-pending/told-closed")
    assert page.status_code == 424
    assert f"<p>{WORDS}</p>" in page.text


def test_a_hub_that_waits_says_so_over_rest_and_when_to_try_again(unattended: Unattended) -> None:
    hub = unattended.hubs["waiting"]
    hub.request("POST", "/users/told-waiting")
    with while_it_lasts(unattended, "never-there"):
        refused = httpx.post(
            f"{hub.url}/hub/api/users/told-waiting/server",
            headers={"Authorization": f"token {hub.token}"},
            timeout=PATIENCE,
        )
    assert (refused.status_code, refused.headers["Retry-After"]) == (424, "60")
    assert refused.json()["message"] == WORDS


def test_what_a_later_operator_writes_is_observed_alone_and_said_once(unattended: Unattended) -> None:
    unattended.beat()
    start = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    quota: dict[str, Any] = {
        "name": "p",
        "policies": ["p"],
        "resource": "memory",
        "limit": "1",
        "used": "2",
        "unit": "GiB-hours",
    }
    quota |= {"enforcement": "Throttle", "blocked": [{"from": start}], "window": {"moving": "3 moons"}, "colour": []}
    names = {way: (f"later-one-{way}", f"later-two-{way}") for way in ("open", "closed")}
    with unattended.without_schema():
        for name in (*names["open"], *names["closed"]):
            unattended.user_quota(name, {"observedGeneration": 1, "quotas": [quota], "moods": {}})
    for way, users in names.items():
        hub = unattended.hubs[way]
        for name in users:
            hub.begin(name)
            until(partial(unattended.has_pod, name), hub.program.last_words)
        said = hub.program.log.read_text()
        assert said.count("enforcement Throttle is not known here and taken for Observe") == 1
        assert "the launch of 'later-" not in said


def test_a_hub_without_a_form_of_options_refuses_on_a_page_of_errors(unattended: Unattended) -> None:
    unattended.beat()
    start, end = (f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (-1, 2))
    quota: dict[str, Any] = {
        "name": "weekly",
        "policies": ["weekly"],
        "resource": "memory",
        "window": {"rolling": "7d"},
    }
    quota |= {"limit": "40", "used": "41.5", "unit": "GiB-hours", "enforcement": "Deny", "message": "Ask <it@uni.edu>"}
    quota |= {"blocked": [{"from": start, "until": end}], "blockedIfStopped": []}
    unattended.user_quota("formless", {"observedGeneration": 1, "quotas": [quota]})
    hub = unattended.hubs["waiting"]
    with logged_in(hub, "formless") as browser:
        page = at_once(lambda: browser.get("/hub/spawn"), hub)
    assert page.status_code == 403
    assert 6000 < int(page.headers["Retry-After"]) <= 7260
    assert re.search(
        r"<p>Your quota is used up: 41\.5 of 40 GiB-hours of memory in any 7 days \(policy weekly\)\.</p>\s*"
        rf'<p>It will work again at <time datetime="{end}">[^<]+ UTC</time> \(in [^)]+\)\.</p>\s*'
        r"<p>Ask &lt;it@uni\.edu&gt;</p>",
        page.text,
    ), page.text
    assert page.text.rstrip().endswith("</html>")
    assert not unattended.has_pod("formless")
