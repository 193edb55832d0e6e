"""What tests of launches share: policies, and waiting for what the operator and the hub do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from tests.testbed.hub import HubRunner
from tests.testbed.patience import PATIENCE, until
from tests.testbed.stage import Stage, policy

MESSAGE: Final = "Ask <it@uni.edu> or see https://it.uni.edu/quotas"
#: Alice has little, everybody a lot, and nobody a GPU.
POLICIES: Final = (
    policy(
        "little",
        scope={"users": ["alice"]},
        resource="memory",
        limit={"value": 1, "unit": "MiB-hours"},
        window={"rolling": "7d"},
        message=MESSAGE,
    ),
    policy(
        "lots",
        scope={"everyone": True},
        resource="memory",
        limit={"value": 400, "unit": "GiB-hours"},
        window={"rolling": "30d"},
    ),
    policy(
        "no-gpu",
        scope={"everyone": True},
        resource="nvidia.com/gpu",
        limit={"value": 0, "unit": "GPU-hours"},
        window={"rolling": "1d"},
    ),
)


def use_up(stage: Stage, user: str) -> None:
    """Have a user run a server until the quota is used up, and stop it."""
    stage.hub.begin(user)
    # Well beyond: the end that a kubelet tells is cut to whole seconds.
    until(lambda: used(stage, user) > 1.5, lambda: words(stage))
    stage.hub.end_server(user)
    until(lambda: not standing(stage, user)["running"], lambda: words(stage))


def used(stage: Stage, user: str) -> float:
    """MiB-hours of the policy "little"."""
    quotas = standing(stage, user).get("quotas", [])
    return float(next((quota["used"] for quota in quotas if quota["name"] == "little"), 0))


def standing(stage: Stage, user: str) -> dict[str, Any]:
    """The status of a user's UserQuota; empty where there is none."""
    found: dict[str, Any] = stage.get("uq", user).get("status", {})
    return found


def words(stage: Stage) -> str:
    """What operator and hub said last."""
    return stage.operator.last_words() + stage.hub.program.last_words()


@contextmanager
def logged_in(hub: HubRunner, user: str) -> Iterator[httpx.Client]:
    """A user in a browser."""
    with httpx.Client(base_url=hub.url, follow_redirects=True, timeout=PATIENCE) as browser:
        browser.get("/hub/login")
        form = {"username": user, "password": "demo", "_xsrf": xsrf(browser)}
        assert browser.post("/hub/login?next=/hub/home", data=form).status_code == 200
        yield browser


def at_once(ask: Callable[[], httpx.Response], hub: HubRunner) -> httpx.Response:
    """The page that answers a launch itself: after a second, which a crowded machine may take, the hub goes on to
    another one, of the launch under way."""
    pages: list[httpx.Response] = []

    def answered() -> bool:
        pages.append(ask())
        return "spawn-pending" not in pages[-1].url.path

    until(answered, hub.program.last_words)
    return pages[-1]


def xsrf(browser: httpx.Client) -> str:
    """What a form of the hub's has to carry."""
    return next(cookie.value or "" for cookie in browser.cookies.jar if cookie.name == "_xsrf")
