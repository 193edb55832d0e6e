"""What the operator needs is taken away and given back while it runs: it comes back by itself, and no number changes.

Its process may end and be started again meanwhile, as a kubelet does with a container.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubquota.domain.pods import micros
from tests.cluster.telling import event, told
from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.conftest import CRDS
from tests.testbed.control_plane import ControlPlane, write_kubeconfig
from tests.testbed.local import LocalControlPlane
from tests.testbed.manifests import OPERATOR, give_rights
from tests.testbed.terms import LASTING, QUICK, Terms

pytestmark = pytest.mark.cluster


class Hub(Bench):
    """A hub with a policy: alice's server has ended, bob's runs."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path, terms: Terms) -> None:
        super().__init__(api, namespace, folder)
        self.program = self.operator(terms=terms)
        self.program.supervised = True
        self.start, self.end_of_alice = ago(900), ago(300)

    def begin(self) -> None:
        self.create(POLICY)
        self.program.start()
        self.place("jupyter-alice", "alice", self.start)
        self.end("jupyter-alice", self.end_of_alice)
        self.place("jupyter-bob", "bob", self.start)
        self.until(lambda: self.is_exact("alice", self.end_of_alice) and self.used_seconds("bob") > 0)

    def goes_on(self) -> None:
        """Bob's server ends, and everybody is told the whole of it. Somebody new is seen, and what a hook decides."""
        end = ago(1)
        self.end("jupyter-bob", end)
        self.place("jupyter-carol", "carol", ago(30))
        self.until(lambda: self.is_exact("bob", end) and self.is_exact("alice", self.end_of_alice))
        self.until(lambda: len(self.status("carol").get("running", ())) == 1)
        said = told("bob")
        self.create(event(self.namespace, said, "bob"))
        self.until(lambda: self.status("bob").get("lastRefusal", {}).get("at") == said["at"])

    def is_exact(self, user: str, end: str) -> bool:
        """Whether a user is told that a server of 1 GiB was used from the start to an instant."""
        return abs(self.used_seconds(user) - (micros(end) - micros(self.start)) / 1_000_000) < 0.01

    def until(self, check: Callable[[], bool]) -> None:
        eventually(check, self.program)

    def said(self) -> int:
        """How much it has said so far."""
        return len(self.program.last_words(10_000_000))

    def says(self, words: str, since: int = 0) -> bool:
        """Whether it has said something, after so much."""
        return words in self.program.last_words(10_000_000)[since:]

    def served(self) -> int:
        """How often it has come to serve the hub."""
        return self.program.last_words(1_000_000).count("is served")


@pytest.fixture
def hub(
    own_control_plane: LocalControlPlane, namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Hub]:
    """``request.param``: the terms of its operator's Lease."""
    found = Hub(own_control_plane, namespace, tmp_path, getattr(request, "param", QUICK))
    found.begin()
    yield found
    found.program.kill()


def crds(api: ControlPlane, *plurals: str) -> None:
    """Delete CRDs, with all objects of theirs."""
    for plural in plurals:
        done = api.kubectl("delete", "crd", f"{plural}.hubquota.dev", "--timeout=30s")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "plurals", [("quotapolicies", "userquotas"), ("quotapolicies",), ("userquotas",)], ids=["both", "policies", "users"]
)
def test_crds_that_are_deleted_and_made_again_bring_back_every_status(
    own_control_plane: LocalControlPlane, hub: Hub, plurals: tuple[str, ...]
) -> None:
    try:
        crds(own_control_plane, *plurals)
    finally:
        own_control_plane.apply(CRDS)
    if "quotapolicies" in plurals:
        hub.create(POLICY)  # only its author knows what it said
    hub.goes_on()


def test_while_there_are_no_crds_it_waits_and_says_so(own_control_plane: LocalControlPlane, hub: Hub) -> None:
    try:
        before = hub.said()
        crds(own_control_plane, "quotapolicies", "userquotas")
        hub.until(lambda: hub.says("waits for the CRDs of hubquota.dev", before))
    finally:
        own_control_plane.apply(CRDS)
    hub.create(POLICY)
    hub.goes_on()


def test_rights_that_are_taken_and_given_back_bring_it_back(own_control_plane: LocalControlPlane, hub: Hub) -> None:
    hub.do("delete", "rolebinding", "--all")
    hub.until(lambda: hub.says("could not be renewed in time"))
    hub.until(lambda: "cannot be had" in hub.program.last_words(10_000_000).partition("started again")[2])
    give_rights(own_control_plane, hub.namespace)
    hub.goes_on()


@pytest.mark.parametrize("hub", [LASTING], indirect=True, ids=["lasting"])
def test_rights_in_the_hub_alone_too(own_control_plane: LocalControlPlane, hub: Hub) -> None:
    said = hub.said()
    hub.do("delete", "rolebinding", "hubquota-operator")
    hub.until(lambda: hub.says("heartbeat is not written", said))
    before = hub.served()
    give_rights(own_control_plane, hub.namespace)
    hub.goes_on()
    assert hub.served() == before  # it has only waited


def test_a_restart_without_rights_in_the_hub_waits_for_them(own_control_plane: LocalControlPlane, hub: Hub) -> None:
    hub.killed(hub.program)
    hub.do("delete", "rolebinding", "hubquota-operator")
    hub.program.start()
    hub.until(lambda: hub.says("and the right to read them"))
    give_rights(own_control_plane, hub.namespace)
    hub.goes_on()


class Revocable:
    """A service account's token in a kubeconfig, that can be revoked: it is bound to a Secret."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._path = hub, Path(hub.program.env["KUBECONFIG"])
        self.issue()

    def issue(self) -> None:
        """A new token, in the place of the old one."""
        name = self._name = f"token-{secrets.token_hex(3)}"
        self._hub.do("create", "secret", "generic", name)
        bound = ("--bound-object-kind=Secret", f"--bound-object-name={name}")
        self.value = self._hub.do("create", "token", OPERATOR, *bound).strip()
        config: dict[str, Any] = json.loads(self._path.read_text())
        config["users"][0]["user"]["token"] = self.value
        write_kubeconfig(self._path, config)

    def revoke(self) -> None:
        self._hub.do("delete", "secret", self._name)


def test_a_token_that_is_revoked_and_another_in_its_place(hub: Hub) -> None:
    token = Revocable(hub)
    hub.killed(hub.program)
    hub.program.start()
    before = hub.served()
    hub.until(lambda: hub.served() > before)
    first = token.value
    token.revoke()
    hub.until(lambda: hub.says("Unauthorized"))
    token.issue()
    hub.goes_on()
    assert not hub.says(first)
    assert not hub.says(token.value)


def test_a_user_that_the_api_server_forgets_and_knows_again(own_control_plane: LocalControlPlane, hub: Hub) -> None:
    file = own_control_plane.folder / "tokens.csv"
    known, token = file.read_text(), secrets.token_hex(16)
    mine = f"{known}{token},system:serviceaccount:{hub.namespace}:{OPERATOR},operator\n"
    path = Path(hub.program.env["KUBECONFIG"])
    config = json.loads(path.read_text())
    config["users"][0]["user"]["token"] = token
    hub.killed(hub.program)
    write_kubeconfig(path, config)

    def restarted(tokens: str) -> None:
        file.write_text(tokens)
        own_control_plane.apiserver.kill()
        own_control_plane.apiserver.start()
        own_control_plane.wait()

    try:
        restarted(mine)
        hub.program.start()
        before = hub.served()
        hub.until(lambda: hub.served() > before)
        restarted(known)
        hub.until(lambda: hub.says("Unauthorized"))
        restarted(mine)
        hub.goes_on()
    finally:
        file.write_text(known)
        hub.program.kill()
        restarted(known)


@pytest.mark.parametrize("place", [0, 1], ids=["first", "second"])
def test_a_hub_whose_namespace_is_gone_takes_no_other_with_it(hub: Hub, place: int) -> None:
    names = [hub.namespace]
    names.insert(place, f"{hub.namespace}-gone")
    hub.killed(hub.program)
    hub.program.env = {**hub.program.env, "HUBQUOTA_HUB_NAMESPACES": json.dumps(names)}
    end = ago(1)
    hub.end("jupyter-bob", end)
    hub.program.start()
    eventually(lambda: hub.is_exact("bob", end), hub.program)
