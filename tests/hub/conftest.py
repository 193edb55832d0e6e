"""Everything together, with each JupyterHub that the hook serves, started once for many tests."""

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.hub.api_server import FakeApi, serving
from tests.hub.launching import POLICIES, use_up
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import HubRunner
from tests.testbed.stage import Stage
from tests.testbed.z2jh import hooked

#: As JupyterHub itself has it, with time for a crowded machine; z2jh has 0: every launch goes on in the background.
WAITING: Final = 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 120}\n'
#: Deadlines that a crowded machine meets: these tests are about what is answered.
PATIENT: Final = {"timeout": 60, "first_launch_timeout": 60}
#: An admin's own words, and PrimeHub's annotation.
WORDS: Final = (
    "".join(f"c.HubQuota.{name} = {seconds}\n" for name, seconds in PATIENT.items())
    + """
c.HubQuota.html_template = "{{ html }}<footer>for {{ user }}</footer>"
c.HubQuota.primehub_annotation = True
"""
)
#: With this a server of a user starts when the progress of its launch is read: else a test may come too late for that.
READ_FIRST: Final = """
import asyncio
from kubespawner import KubeSpawner
class Read(KubeSpawner):
    async def progress(self):
        async for event in super().progress():
            self.was_read = True
            yield event
async def read_first(spawner, user):
    while spawner.user.name == user and not getattr(spawner, "was_read", False):
        await asyncio.sleep(0.05)
"""
#: What an admin has already: a class of spawners with hooks of its own. Servers stay when the hub ends, as in z2jh.
ADMINS: Final = (
    READ_FIRST
    + """
import pathlib
from tornado.web import HTTPError
class Mine(Read): pass
c.JupyterHub.spawner_class = Mine
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticate_prometheus = False
def theirs(spawner):
    if spawner.user.name == "unwelcome":
        raise HTTPError(418, "theirs")
    spawner.extra_annotations = {{**spawner.extra_annotations, "theirs/hook": "ran"}}
async def on_the_pod(spawner, pod):
    pod.metadata.annotations["theirs/pod"] = "ran"
    await read_first(spawner, "bob")
    return pod
c.{where}.pre_spawn_hook = theirs
c.KubeSpawner.modify_pod_hook = on_the_pod
async def slow_end(spawner):
    while spawner.user.name == "slow" and not pathlib.Path({free!r}).exists():
        await asyncio.sleep(0.05)
c.Spawner.post_stop_hook = slow_end
"""
)


@pytest.fixture
async def fake_api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    """What the hook asks in this process; it knows nobody."""
    made = FakeApi()
    async with serving(made, monkeypatch):
        yield made


@dataclass(frozen=True)
class Together:
    """One operator, and two hubs that share its namespace and the users in it.

    ``stage.hub`` is as z2jh sets it up, with an admin's HTML; ``waiting`` answers a request for a launch when it knows
    what came of it, in an admin's text, and refuses where no answer can be had. ``free``: a file; until it is there, no
    server of the user "slow" ends.
    """

    stage: Stage
    waiting: HubRunner
    free: Path


@pytest.fixture(scope="module")
def together(api: ControlPlane, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    """Both hubs with an operator and the policies of these tests; alice has used up hers."""
    namespace, folder = f"t-{secrets.token_hex(4)}", tmp_path_factory.mktemp("together")
    free = folder / "free"
    api.make_namespace(namespace)
    of_the_class, of_all = (ADMINS.format(where=where, free=str(free)) for where in ("Mine", "Spawner"))
    stage = Stage(api, namespace, folder, of_the_class + WORDS, python)
    words = "{{ text }} (as {{ user }} reads it)"
    strict = hooked(folder / "waiting", failover_open=False, message_template=words, **PATIENT)
    waiting = HubRunner(api, namespace, folder / "waiting", of_all + WAITING + strict, python)
    try:
        stage.apply(*POLICIES)
        stage.start()
        waiting.start()
        use_up(stage, "alice")
        yield Together(stage, waiting, free)
    finally:
        waiting.stop()
        stage.stop()
        api.end_namespace(namespace)
