"""An operator that asks a hub knows users' quotas by group before they launch anything, and keeps room for launches."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubquota.ledger import Ledger
from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import POLICY, ago, eventually
from tests.jupyterhub.fake_hub import FakeHub, beside, saying
from tests.testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster
OF_STUDENTS = POLICY | {"spec": POLICY["spec"] | {"scope": {"groups": ["students"]}}}


class Bench(Watched):
    """A namespace whose hub only pretends, and an operator that asks it every second."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path, hub: FakeHub) -> None:
        super().__init__(api, namespace, folder)
        self.hub, self.secret = hub, folder / "token"
        self.secret.write_text("hunter2")
        self.create(OF_STUDENTS)

    @contextmanager
    def asking(self, **settings: object) -> Iterator[None]:
        """Meanwhile the operator runs."""
        told = {"hub_api_url": self.hub.url, "hub_api_token_file": self.secret, "hub_api_interval": 1}
        self.program = self.started(**told, **settings)
        try:
            self.eventually(lambda: self.metric("hub_listed_timestamp_seconds") > 0)
            yield
        finally:
            self.program.kill()  # a stop in order takes seconds

    def eventually(self, check: Callable[[], bool]) -> None:
        eventually(check, self.program)

    def log(self) -> str:
        return self.program.last_words(1_000_000)

    def listed_twice(self) -> None:
        """Wait until a listing that has begun after this is done."""
        for _ in range(2):
            before = self.metric("hub_listed_timestamp_seconds")
            self.eventually(lambda b=before: self.metric("hub_listed_timestamp_seconds") > b)  # type: ignore[misc]

    def groups(self, user: str) -> list[str] | None:
        """What the UserQuota tells; None: there is none."""
        found = self.read("uq", user)
        return list(found["spec"].get("groups", [])) if found else None

    def decided_by(self, user: str) -> list[str]:
        """The groups by which the user's quotas hold."""
        return [quota["group"] for quota in self.status(user).get("quotas", [])]

    def uid(self, user: str) -> str:
        return str(self.read("uq", user)["metadata"]["uid"])

    def kept(self, user: str, at: float | None = None) -> frozenset[str] | None:
        """The user's groups at an instant (seconds since 1970, None: now), by the ledger; None: there were none."""
        instant = round((time.time() if at is None else at) * 1_000_000)

        async def read() -> frozenset[str] | None:
            async with await Ledger.open(self.database) as ledger:
                return (await ledger.groups_at(self.namespace, instant)).get(user)

        return asyncio.run(read())


@pytest.fixture(scope="module")
def bench(api: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One for many: each test has users of its own."""
    with api.namespace() as namespace, beside() as hub:
        made = Bench(api, namespace, tmp_path_factory.mktemp("asking"), hub)
        with made.asking(user_quota_retention=2):
            yield made
        assert "hunter2" not in made.program.log.read_text()


def test_a_user_has_quotas_by_group_before_launching_anything_and_without_a_group_there_is_nothing_to_tell(
    bench: Bench,
) -> None:
    bench.hub.has(alice=["students"], anna=[])
    bench.eventually(lambda: bench.decided_by("alice") == ["students"])
    bench.eventually(lambda: bench.kept("alice") == frozenset({"students"}))
    bench.listed_twice()
    assert bench.groups("anna") is None


def test_a_change_of_groups_is_taken_over_and_the_ledger_knows_both(bench: Bench) -> None:
    bench.hub.has(bob=["students"])
    bench.eventually(lambda: bench.kept("bob") == frozenset({"students"}))
    listed = bench.metric("hub_listed_timestamp_seconds")
    bench.hub.has(bob=["staff"])
    bench.eventually(lambda: bench.groups("bob") == ["staff"] and not bench.decided_by("bob"))
    bench.eventually(lambda: bench.kept("bob") == frozenset({"staff"}))
    assert bench.kept("bob", listed) == frozenset({"students"})


def test_what_a_hook_has_told_since_is_not_overwritten(bench: Bench) -> None:
    bench.hub.has(carol=["staff"])
    bench.eventually(lambda: bench.groups("carol") == ["staff"])
    newer = {"spec": {"groups": ["lab"], "groupsObservedAt": ago(-3600)}}
    bench.do("patch", "uq", "carol", "--type=merge", "-p", json.dumps(newer))
    bench.listed_twice()
    assert bench.groups("carol") == ["lab"]


def test_whoever_is_listed_is_seen_and_who_is_not_goes_with_the_time(bench: Bench) -> None:
    bench.hub.has(dave=["staff"])
    bench.eventually(lambda: bench.groups("dave") == ["staff"])
    uid = bench.uid("dave")
    bench.user_quota("zoe", "zoe")
    bench.eventually(lambda: "userquota=zoe deleted" in bench.log())
    assert bench.uid("dave") == uid
    bench.do("delete", "uq", "dave")  # what an admin deletes is made anew
    bench.eventually(lambda: bench.groups("dave") == ["staff"])
    bench.hub.has(dave=None)
    bench.eventually(lambda: "userquota=dave deleted" in bench.log())


def test_while_the_hub_is_away_nothing_is_forgotten_and_it_is_told_once(bench: Bench) -> None:
    bench.hub.has(erin=["students"])
    bench.eventually(lambda: bench.decided_by("erin") == ["students"])
    before = len(bench.log())
    bench.hub.answer, asked = saying(503), len(bench.hub.asked)
    bench.eventually(lambda: len(bench.hub.asked) >= asked + 3)
    assert bench.log()[before:].count("its users are not listed, tried again until they are") == 1
    assert bench.decided_by("erin") == ["students"]
    bench.hub.answer = None
    bench.eventually(lambda: "its users are listed again" in bench.log()[before:])


def test_whoever_is_listed_leaves_room_for_those_who_launch(api: ControlPlane, namespace: str, tmp_path: Path) -> None:
    with beside() as hub:
        bench = Bench(api, namespace, tmp_path, hub)
        hub.has(**{f"user{n}": ["students" if n > 7 else "staff"] for n in range(10)})
        with bench.asking(max_user_quotas=6):
            # First those whom a policy names by a group.
            bench.eventually(lambda: bench.names() == {"user0", "user8", "user9"})
            bench.listed_twice()
            assert bench.names() == {"user0", "user8", "user9"}
            for user in ("user1", "user2", "zoe"):
                bench.place(f"jupyter-{user}", user, ago(60))
            bench.eventually(lambda: {"user1", "user2", "zoe"} < bench.names())
            assert bench.groups("user1") == ["staff"]
            assert bench.metric("users_left_out") == 0
