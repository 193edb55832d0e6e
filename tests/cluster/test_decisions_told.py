"""What the real hook decides, by a real API server, reaches the real operator, the ledger, and what people read."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.test_decisions import Bench as Told
from tests.cluster.test_operator import POLICY, ago, eventually
from tests.hub.real_api import account_of_hub, asking, launched
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
#: By user what the hook has to decide, the policy's enforcement, and how the hook is set up.
LAUNCHES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "alice": ("Refused", "Deny", {}),
    "bob": ("Warned", "Warn", {}),
    "carol": ("ShadowRefused", "Observe", {}),
    # Every heartbeat is too old for these.
    "dave": ("FailedOpen", "Deny", {"max_staleness": 1e-6}),
    "erin": ("FailedClosed", "Deny", {"max_staleness": 1e-6, "failover_open": False}),
    # Launched for a group of somebody else's.
    "frank": ("Refused", "Deny", {"launch_group": lambda _: "lab"}),
}
#: As ``kubectl get events`` shows them.
REASONS: Final = {
    "alice": "LaunchRefused",
    "bob": "LaunchWarned",
    "carol": "LaunchObserved",
    "dave": "LaunchFailedOpen",
    "erin": "LaunchFailedClosed",
    "frank": "LaunchRefused",
}
#: The policies that decide.
DECIDING: Final = {"alice": ["alice", "more"], "bob": ["bob"], "carol": ["carol"], "dave": [], "erin": [], "frank": []}


class Bench(Told):
    """Users who have used up a GiB-hour of their own, and launch by the hook."""

    def begin(self) -> None:
        self.uids = {}
        for user, (_, enforcement, _) in LAUNCHES.items():
            self.grant(user, user, enforcement)
            self.place(f"jupyter-{user}", user, ago(7200))
            self.end(f"jupyter-{user}", ago(60))
        self.grant("more", "alice", "Deny")  # both of them decide together

    def grant(self, name: str, user: str, enforcement: str) -> None:
        limit = {"value": "0.5", "unit": "GiB-hours"}
        spec = POLICY["spec"] | {"scope": {"users": [user]}, "limit": limit, "enforcement": enforcement}
        body = POLICY | {"metadata": {"name": name}, "spec": spec | {"combine": "Sum"}}
        self.uids[name] = self.create(body)["metadata"]["uid"]

    def counting(self, user: str) -> set[str]:
        """The policies that count for a user."""
        return {name for quota in self.status(user)["quotas"] for name in quota["policies"]}

    def launch_all(self, account: Path) -> dict[str, str]:
        """Launch a server of each user's; returns what those read whose launch was refused."""
        return asyncio.run(self._launch_all(account))

    async def _launch_all(self, account: Path) -> dict[str, str]:
        async with asking(account):
            told = {u: await launched(self.namespace, u, "gpu", **traits) for u, (_, _, traits) in LAUNCHES.items()}
        return {user: words for user, words in told.items() if words}

    def events(self) -> dict[str, dict[str, Any]]:
        """What the API server has of the hook's Events, by user."""
        found = self.read("events")["items"]
        return {e["involvedObject"]["name"]: e for e in found if e["reportingComponent"] == "hubquota-hook"}


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


@pytest.fixture
def operator(bench: Bench) -> Iterator[Program]:
    program = bench.started(resync_interval=5)
    bench.begin()
    eventually(lambda: bool(bench.read("lease", "hubquota-heartbeat")), program)
    yield program
    program.kill()  # a stop in order takes seconds


def test_what_the_hook_decides_stands_in_events_ledger_counts_and_for_its_user(bench: Bench, operator: Program) -> None:
    for user in LAUNCHES:
        eventually(lambda u=user: bench.used_seconds(u) > 3600, operator)  # type: ignore[misc]
    eventually(lambda: bench.counting("alice") == {"alice", "more"}, operator)
    refused = bench.launch_all(account_of_hub(bench.api, bench.namespace))
    assert refused.keys() == {"alice", "erin", "frank"}

    assert {user: event["reason"] for user, event in bench.events().items()} == REASONS
    for user, (kind, _, _) in LAUNCHES.items():
        eventually(lambda u=user: len(bench.kept(u)) == 1, operator)  # type: ignore[misc]
        [kept] = bench.kept(user)
        deciding = [quota.uid for quota in kept.quotas]
        assert (str(kept.kind), kept.server, kept.request["memory"]) == (kind, "gpu", 2**30)
        assert deciding == [bench.uids[name] for name in DECIDING[user]]
        assert kept.message == refused.get(user, kept.message)

    counts = dict.fromkeys(bench.uids, (0, 0)) | {"alice": (1, 0), "more": (1, 0), "carol": (0, 1)}
    eventually(
        lambda: {u: (bench.policy(u)["refused"], bench.policy(u)["wouldHaveRefused"]) for u in counts} == counts,
        operator,
    )
    for user in ("alice", "frank"):
        eventually(lambda u=user: "lastRefusal" in bench.status(u), operator)  # type: ignore[misc]
        shown = bench.status(user)["lastRefusal"]
        assert (shown["server"], shown.get("policies", []), shown["reason"]) == ("gpu", DECIDING[user], refused[user])
    assert not any("lastRefusal" in bench.status(user) for user in ("bob", "carol", "dave", "erin"))
    kinds = {kind: 2 if kind == "Refused" else 1 for kind, _, _ in LAUNCHES.values()}
    assert {kind: bench.metric("decisions_total", kind=kind) for kind in kinds} == kinds
