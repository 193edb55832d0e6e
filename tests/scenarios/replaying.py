"""Scenarios through ``hubquota replay``: pods from a history file, policies from YAML files, no cluster."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml
from click.testing import CliRunner

from hubquota.cli import main
from hubquota.domain.history import PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.domain.windows import SECOND
from hubquota.files.pod_history import to_line
from tests.scenarios.expecting import at, label, launch_faults, pool_faults, user_faults
from tests.scenarios.vocabulary import Case, Json, Launch, Pod, Then, User
from tests.scenarios.world import World, record_of

#: The pod of a launch that is tried.
_TRIED: Final = "the-launch"


def faults(case: Case, folder: Path) -> Iterator[str]:
    """What replay says otherwise than the scenario expects, step by step."""
    world = World(case)
    for step, phase in enumerate(case.phases):
        for act in phase.acts:
            world.do(act)
        here = folder / str(step)
        here.mkdir()
        yield from (f"step {step}: {fault}" for fault in _Replay(world, here).faults(phase))


class _Replay:
    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._now, self._folder = world, world.now, folder
        self._policies = folder / "policies"
        self._policies.mkdir()
        for name, spec in world.specs.items():
            body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "QuotaPolicy", "metadata": {"name": name}}
            (self._policies / f"{name}.yaml").write_text(yaml.safe_dump(body | {"spec": spec}))
        self._groups = folder / "groups.json"
        self._groups.write_text(json.dumps({user: list(groups) for user, groups in world.members.items()}))
        self._pods = world.records()

    def faults(self, phase: Then) -> Iterator[str]:
        if not self._world.specs:
            return  # no policies are no folder of policies
        told = self._run(self._pods)
        for name, pool in phase.pools.items():
            yield from pool_faults(name, pool, told["pools"].get(name), self._now)
        for user, expected in phase.users.items():
            yield from self._user_faults(user, expected, told)

    def _user_faults(self, user: str, expected: User, told: Json) -> Iterator[str]:
        if not self._world.has_pods(user):
            if user in told["users"]:
                yield f"{user} has no pods and should not be listed"
        elif user not in told["users"]:
            yield f"{user} is not listed, but {sorted(told['users'])}"
        else:
            status = told["users"][user]
            yield from user_faults(user, expected, status, self._now)
            # What a relaunch replaces is no part of a history: by then it is over.
            plain = [launch for launch in expected.launches if not self._world.relaunched(user, launch.server)]
            yield from launch_faults(user, plain, status, told["pools"], self._world.specs, self._now)
        for launch in expected.launches:
            if not self._world.relaunched(user, launch.server):
                yield from self._launch_faults(user, launch)

    def _launch_faults(self, user: str, launch: Launch) -> Iterator[str]:
        """The launch as one more pod of the history, judged at its placement."""
        told = self._run([*self._pods, self._tried(user, launch)], "--from", rfc3339(self._now))
        denied = [d for d in told["denied"] if d["pod"] == _TRIED]
        names = sorted(name for d in denied for name in d["policies"])
        what = f"{user}: replay, {label(launch)}"
        if names != sorted(launch.by):
            yield f"{what}: should be refused by {sorted(launch.by)}, not {names}"
        if denied and denied[0].get("until") != (until := at(launch.until, self._now)):
            yield f"{what}: should work from {until}, not {denied[0].get('until')}"
        for name in (*launch.warned, *launch.shadow):
            if user not in told["policies"][name]["users"]:
                yield f"{what}: should have met {name}"

    def _tried(self, user: str, launch: Launch) -> PodRecord:
        groups = self._world.members.get(user, ())
        pod = Pod(
            user, 0, asks=launch.asks, server=launch.server, groups=groups, chosen=launch.group, profile=launch.profile
        )
        world = World(replace(self._world.case, pods=(replace(pod, name=_TRIED),)))
        (record,) = (record_of(known, _TRIED) for known in world.pods)
        assert record is not None
        return record

    def _run(self, pods: list[PodRecord], *more: str) -> dict[str, Any]:
        history = self._folder / "pods.jsonl"
        history.write_text("".join(f"{to_line(pod)}\n" for pod in pods))
        arguments = ["--pods", history, "--policies", self._policies, "--groups", self._groups]
        arguments += ["--at", rfc3339(self._now), "--output", "json", *more]
        arguments += ["--to", rfc3339(self._now + SECOND)] if more else []
        done = CliRunner().invoke(main, ["replay", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        told: dict[str, Any] = json.loads(done.output)
        return told
