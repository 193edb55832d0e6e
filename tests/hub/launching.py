"""What tests of launches share: policies, and waiting for what the operator writes."""

import time
from collections.abc import Callable
from typing import Any

from tests.testbed.stage import Stage, policy

EVERYONE = {"everyone": True}


def eventually(check: Callable[[], bool], stage: Stage, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, stage.operator.last_words() + stage.hub.program.last_words()
        time.sleep(0.1)


def memory(value: object, unit: str = "GiB-hours", window: str = "7d", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    limit = {"value": value, "unit": unit}
    return policy("memory", scope=EVERYONE, resource="memory", limit=limit, window={"rolling": window}, **more)


def used(stage: Stage) -> float:
    quotas = stage.get("uq", "alice").get("status", {}).get("quotas") or [{"used": 0}]
    return float(quotas[0]["used"])


def applied(stage: Stage, name: str) -> Callable[[], bool]:
    return lambda: bool(stage.get("qp", name).get("status"))


def use_up(stage: Stage, message: str) -> None:
    """Have alice run a server until her quota is used up, and stop it."""
    stage.apply(memory(1, "MiB-hours", message=message))
    assert stage.hub.launch("alice")[-1].get("ready"), stage.hub.program.last_words()
    # Well beyond: the end that a kubelet tells is cut to whole seconds.
    eventually(lambda: used(stage) > 1.5, stage)
    stage.hub.end_server("alice")
    eventually(lambda: stage.get("uq", "alice")["status"]["running"] == [], stage)
