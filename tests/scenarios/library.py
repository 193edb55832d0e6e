"""Scenarios through the library: pods as objects, metered, judged by the engine and by the hook."""

from collections.abc import Iterator

from hubquota.domain import launch as launching
from hubquota.domain.metering import Meter
from hubquota.domain.pods import rfc3339
from hubquota.domain.pooling import charges
from hubquota.domain.quantities import base_units, thousandths
from hubquota.domain.standing import Level, QuotaState, Standing
from hubquota.resources.status import quota_json, user_status
from tests.scenarios.expecting import at, base_request, label, launch_faults, pool_faults, user_faults
from tests.scenarios.vocabulary import Case, Json, Launch, Then
from tests.scenarios.world import World


def faults(case: Case) -> Iterator[str]:
    """What the library says otherwise than the scenario expects, step by step."""
    world = World(case)
    for step, phase in enumerate(case.phases):
        for act in phase.acts:
            world.do(act)
        yield from (f"step {step}: {fault}" for fault in _Library(world).faults(phase))


class _Library:
    def __init__(self, world: World) -> None:
        self._world, self._now = world, world.now
        self._policies = world.policies()
        self._meter = Meter(world.case.covered_since)
        self._meter.take(world.records())
        for known in world.pending():
            self._meter.expect(known.pod.user or "", known.uid, known.pod.server)
        states = {p.name: self._meter.pool(p, self._now) for p in self._policies if p.shared}
        self._pools: dict[str, QuotaState | None] = states

    def faults(self, phase: Then) -> Iterator[str]:
        pools = {name: None if state is None else quota_json(state) for name, state in self._pools.items()}
        for name, pool in phase.pools.items():
            yield from pool_faults(name, pool, pools.get(name), self._now)
        for user, expected in phase.users.items():
            standing = self._standing(user)
            status = user_status(standing, self._running(user), 0, self._meter.pending(user))
            yield from user_faults(user, expected, status, self._now)
            yield from launch_faults(user, expected.launches, status, pools, self._world.specs, self._now)
            for launch in expected.launches:
                yield from self._launch_faults(user, launch, standing)
            if expected.running is not None and expected.running != len(self._running(user)):
                yield f"{user}: {expected.running} should run, not {self._running(user)}"

    def _standing(self, user: str) -> Standing:
        home = self._world.case.homes.get(user)
        level = None if home is None else Level(base_units("memory", thousandths(home)), self._now)
        return self._meter.standing(self._policies, user, self._world.groups(user), self._now, level)

    def _running(self, user: str) -> list[Json]:
        pods = ((pod.name, pod.server) for pod in self._meter.running(user))
        return [{"pod": name} | ({} if server is None else {"server": server}) for name, server in pods]

    def _launch_faults(self, user: str, expected: Launch, standing: Standing) -> Iterator[str]:
        paying = (expected.group,) if expected.group else tuple(self._world.groups(user))
        mine = [p.name for p in self._policies if p.name in standing.pools and charges(p.scope, user, paying)]
        pools = [state for name in mine if (state := self._pools.get(name)) is not None]
        replaced = self._world.relaunched(user, expected.server)
        asked = launching.Launch(base_request(expected) | {"servers": 1000}, expected.profile, replaced)
        verdict = launching.judge([*standing.quotas, *pools], asked, self._now, standing.foreseen)
        what = f"{user}: the engine, {label(expected)}"
        for word, names, found in (
            ("refused", expected.by, verdict.refusing),
            ("warned", expected.warned, verdict.warning),
            ("observed", expected.shadow, verdict.shadow_refusing),
        ):
            if sorted(names) != (told := sorted(state.quota.name for state in found)):
                yield f"{what}: should be {word} by {sorted(names)}, not {told}"
        if not expected.by:
            return
        if _rfc3339(verdict.until) != (until := at(expected.until, self._now)):
            yield f"{what}: should work from {until}, not {_rfc3339(verdict.until)}"
        if expected.if_stopped != "" and _rfc3339(verdict.until_if_stopped) != (
            stopped := at(expected.if_stopped, self._now)
        ):
            yield f"{what}: if stopped, should work from {stopped}, not {_rfc3339(verdict.until_if_stopped)}"


def _rfc3339(micros: int | None) -> str | None:
    return None if micros is None else rfc3339(micros)
