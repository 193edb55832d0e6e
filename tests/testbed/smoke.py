"""The demo without a person: the main job from end to end, as a timeline; exits non-zero where a step fails."""

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hubquota.domain.pods import micros
from hubquota.domain.units import decimal
from tests.testbed.fake_kubelet import truth
from tests.testbed.hub import ROOT
from tests.testbed.patience import PATIENCE
from tests.testbed.providers import control_plane
from tests.testbed.stage import Stage, policy

_NAMESPACE: Final = "smoke"
#: What the hub's small and large profile ask for, in bytes (tests/testbed/hub.py).
_SMALL: Final = 2**30
_LARGE: Final = 8 * 2**30
#: Used up by a small server in eleven seconds, and free again a minute later at the latest.
_TINY: Final = policy(
    "tiny",
    scope={"users": ["alice"]},
    resource="memory",
    limit={"value": "0.003", "unit": "GiB-hours"},
    window={"rolling": "1m"},
    message="Ask it@uni.example for more.",
)
_DAILY: Final = policy(
    "daily",
    scope={"everyone": True},
    resource="memory",
    limit={"value": 100, "unit": "GiB-hours"},
    window={"rolling": "1d"},
)


class Failed(Exception):
    """A step did not come out as it should; the message says what was seen."""


class Timeline:
    """Prints what happened and when."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, what: str) -> None:
        """One line, with the seconds since the beginning."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {what}", flush=True)

    def until(self, what: str, check: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait for something, and tell of it. Raises Failed when it does not come."""
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                raise Failed(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.1)
        self.tell(what)


def run(stage: Stage, line: Timeline) -> None:
    """The main job. Raises Failed."""
    stage.apply(_TINY, _DAILY)
    line.until("policies applied", lambda: all(_ready(stage, name) for name in ("tiny", "daily")))
    _launched(stage, line, "alice", "small")
    _launched(stage, line, "bob", "gpu")
    first = _used(stage, "alice", "tiny")
    line.until(
        f"usage grows in alice's status: {first} GiB-hours and more", lambda: _used(stage, "alice", "tiny") > first
    )
    stage.do("jupyter-alice", "restart")
    line.until("alice's container restarted", lambda: any(e["event"] == "restarted" for e in truth(stage.truth)))
    line.until("alice's quota is used up", lambda: _used(stage, "alice", "tiny") >= 0.0035)
    line.tell(f"her status: {stage.get('uq', 'alice')['status']['summary']}")
    stage.hub.end_server("alice")
    stage.hub.end_server("bob")
    line.until("both servers stopped", lambda: not _running(stage, "alice") and not _running(stage, "bob"))
    again = _refused(stage, line)
    line.until(f"time passes, until {again:%H:%M:%S}", lambda: datetime.now(UTC) >= again, 90)
    before = _used(stage, "alice", "daily")
    _launched(stage, line, "alice", "small")
    line.until("it runs for some seconds", lambda: _used(stage, "alice", "daily") > before + 0.0006)
    stage.hub.end_server("alice")
    line.until("alice's second server stopped", lambda: not _running(stage, "alice"))
    _compare(stage, line, {"alice": _SMALL, "bob": _LARGE})
    print(stage.table())


def _launched(stage: Stage, line: Timeline, user: str, profile: str) -> None:
    events = stage.hub.launch(user, profile=profile)
    if not events[-1].get("ready"):
        raise Failed(f"the launch of {user} was not allowed: {events[-1].get('message')}")
    line.tell(f"launch of {user} ({profile}) allowed")
    for event in events:
        if " left in any " in event["message"]:
            line.tell(f"  {user} reads while it starts: {event['message']}")


def _refused(stage: Stage, line: Timeline) -> datetime:
    """A launch that must be refused; returns the instant at which it was told to work again."""
    last = stage.hub.launch("alice", profile="small")[-1]
    if not last.get("failed"):
        raise Failed(f"the launch of alice was not refused: {last}")
    line.tell(f"launch of alice refused; she reads: {last['message']}")
    quotas = stage.get("uq", "alice")["status"]["quotas"]
    until = next(q for q in quotas if q["name"] == "tiny")["blocked"][0]["until"]
    told = datetime.fromisoformat(until)
    if f"{told:%Y-%m-%d %H:%M:%S} UTC" not in last["message"]:
        raise Failed(f"the refusal does not tell {until}")
    return told


def _compare(stage: Stage, line: Timeline, memory: dict[str, int]) -> None:
    """Usage in the statuses beside the fake kubelet's own log, pod by pod and user by user."""
    lives: dict[str, dict[str, Any]] = {}
    for entry in truth(stage.truth):
        lives.setdefault(entry["uid"], {"pod": entry["pod"]})[entry["event"]] = entry["at"]
    for life in lives.values():
        restarted = ", container restarted" if "restarted" in life else ""
        line.tell(f"log: {life['pod']} {life['scheduled']} to {life['finished']}{restarted}")
    for user, size in memory.items():
        spans = [
            micros(life["finished"]) - micros(life["scheduled"])
            for life in lives.values()
            if life["pod"] == f"jupyter-{user}"
        ]
        expected = decimal(sum(spans) * size, "GiB-hours")
        held = f"{sum(spans) // 1_000_000} s of {size // 2**30} GiB"
        line.until(
            f"{user}: {held} in the log = {expected} GiB-hours in the status",
            lambda user=user, expected=expected: _text(stage, user, "daily") == expected,  # type: ignore[misc]
            10,
        )
    if len(lives) < 3:
        raise Failed(f"only {len(lives)} pods were compared")


def _ready(stage: Stage, name: str) -> bool:
    conditions = stage.get("qp", name).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _text(stage: Stage, user: str, name: str) -> str:
    quotas = stage.get("uq", user).get("status", {}).get("quotas", [])
    return next((str(q["used"]) for q in quotas if q["name"] == name), "0")


def _used(stage: Stage, user: str, name: str) -> float:
    return float(_text(stage, user, name))


def _running(stage: Stage, user: str) -> bool:
    return bool(stage.get("uq", user)["status"]["running"])


def main() -> int:
    """Set up, run, tear down; 1 where a step failed."""
    line = Timeline()
    with tempfile.TemporaryDirectory(prefix="hubquota-smoke-") as folder:
        api = control_plane(Path(folder) / "control-plane")
        stage: Stage | None = None
        try:
            api.start()
            api.apply(ROOT / "crds", _NAMESPACE)
            stage = Stage(api, _NAMESPACE, Path(folder) / "stage")
            stage.start()
            line.tell("control plane, fake kubelet, hub and operator are up")
            run(stage, line)
        except Exception as fault:
            line.tell(f"FAILED: {type(fault).__name__}: {fault}")
            if stage is not None:
                print(stage.operator.last_words(), stage.hub.program.last_words(), file=sys.stderr)
            return 1
        finally:
            if stage is not None:
                stage.stop()
            api.stop()
    line.tell("all went as it should")
    return 0


if __name__ == "__main__":
    sys.exit(main())
