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
from tests.hub.unattended import Unattended
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import HubRunner
from tests.testbed.line import Line
from tests.testbed.patience import until
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
#: What a test has arranged holds for the next launch: else what all launches share may be older.
AT_ONCE = """
import hubquota_hook
hubquota_hook._AGAIN_SECONDS = hubquota_hook._POLICIES_SECONDS = hubquota_hook._HEARTBEAT_SECONDS = 0.0
"""


@pytest.fixture(scope="module")
def unattended(api: ControlPlane, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unattended]:
    """Both hubs, which have started without rights, CRDs and operator."""
    namespace, folder = f"t-{secrets.token_hex(4)}", tmp_path_factory.mktemp("unattended")
    api.make_namespace(namespace)
    with Line(api.url) as line:
        made = Unattended(api, namespace, line)
        for is_open, home in ((True, folder / "open"), (False, folder / "closed")):
            hook = hooked(home, failover_open=is_open, first_launch_timeout=1) + AT_ONCE
            made.add(is_open, home, ADMINS + ("" if is_open else WAITING) + hook, python)
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
    assert world.hubs[True].begin("earlier-one")[0] == 202
    assert world.hubs[False].begin("earlier-two")[0] == 424
    until(lambda: world.has_pod("earlier-one"), world.hubs[True].program.last_words)


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
        for is_open in (True, False):
            world.user_quota(
                user("malformed", is_open), {"observedGeneration": 1, "quotas": [{"resource": 3, "limit": []}]}
            )
    yield


def unanswered(world: Unattended) -> Iterator[None]:
    limit = {"value": 1, "unit": "GiB-hours"}
    pool = policy(
        "pool",
        scope={"users": [user("unanswered", is_open) for is_open in (True, False)]},
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
    "hanging": (hanging, "timeout", "the API server has not answered within 2 s: see whether it is overloaded"),
    "stopped": (stopped_for_long, "heartbeat", "s old: see whether hubquota's operator runs, and whether its clock"),
    "skew": (clock_skew, "clock", "ahead of the API server's clock: set the clocks of their nodes"),
    "no-rights": (rights_taken, "forbidden", "may not read /apis/.*: apply hubquota's Role for the hub"),
    "away": (away, "unreachable", "the API server cannot be reached .*: see whether it is up, and whether the hub's"),
    "no-crds": (no_crds, "crds", "is not there: apply hubquota's CRDs"),
    "malformed": (malformed, "malformed", "UserQuota malformed-.*, or a QuotaPolicy, cannot be read"),
    "unanswered": (unanswered, "unanswered", "the operator has not answered for 'unanswered-.*' in 1 s: see its log"),
}


def user(failure: str, is_open: bool) -> str:
    return f"{failure}-{'open' if is_open else 'closed'}"


def while_it_lasts(world: Unattended, failure: str) -> AbstractContextManager[None]:
    return contextmanager(FAILURES[failure][0])(world)


def lines_of(hub: HubRunner, name: str) -> list[str]:
    return [line for line in hub.program.log.read_text().splitlines() if f"the launch of '{name}'" in line]


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
    goes_on, refused = user(failure, True), user(failure, False)
    with while_it_lasts(unattended, failure):
        assert unattended.hubs[True].begin(goes_on)[0] == 202
        told = unattended.hubs[False].begin(refused)
        until(lambda: bool(lines_of(unattended.hubs[True], goes_on)), unattended.hubs[True].program.last_words)
    if failure != "away":  # KubeSpawner gives up at once then
        until(lambda: unattended.has_pod(goes_on), unattended.hubs[True].program.last_words)
    assert told[0] == 424
    assert "Your quota cannot be read at the moment" in told[1]["message"]
    assert not unattended.has_pod(refused)
    for is_open, name, result in ((True, goes_on, "goes on"), (False, refused, "is refused")):
        hub = unattended.hubs[is_open]
        [line] = lines_of(hub, name)
        assert re.search(f"{result} without an answer: .*{words}", line), line
        assert counted(hub, "failed_open" if is_open else "failed_closed", cause) >= 1
        # As JupyterHub 5 says before it ends itself; these tests refuse more than five in a row.
        assert "consecutive spawn" not in hub.program.log.read_text()
        assert hub.program.running


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
    hub = unattended.hubs[True]
    with unattended.without_schema():
        for name in ("later-one", "later-two"):
            unattended.user_quota(name, {"observedGeneration": 1, "quotas": [quota], "moods": {}})
    for name in ("later-one", "later-two"):
        hub.begin(name)
        until(partial(unattended.has_pod, name), hub.program.last_words)
    said = hub.program.log.read_text()
    assert said.count("enforcement Throttle is not known here and taken for Observe") == 1
    assert "the launch of 'later-" not in said
