"""Where the operator does not answer for changed groups, or cannot be told of them, those of before decide."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from tornado.web import HTTPError

from tests.hub.api_server import FakeApi, Json, count, known, spawner, used_up
from tests.hub.api_server import impatient_gate as gate

#: What becomes of the PATCH that tells of the groups, None: it is taken, and never answered by the operator; and why.
TROUBLES: dict[str, tuple[int | None, str]] = {
    "no answer": (None, "the operator has not answered for 'alice' in 0.3 s: see its log"),
    "unwell": (503, "/userquotas/alice with 503"),
    "forbidden": (403, "the hub's service account may not write /apis/.*/userquotas/alice: apply hubquota's Role"),
}


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    return fake_api


def telling_fails(status: int | None) -> Any:  # noqa: ANN401
    """Everything can be read; what is told of users is answered so. None: as ever."""

    async def answer(request: web.BaseRequest) -> web.Response | None:
        telling = request.method in ("PATCH", "POST") and "/events" not in request.path
        return web.Response(status=status, text="{}") if telling and status is not None else None

    return answer


def failed() -> float:
    """Launches that ended by failover_open, so far."""
    causes = ("unanswered", "unavailable", "forbidden", "timeout", "internal")
    return sum(count(f"failed_{how}", cause=cause) for how in ("open", "closed") for cause in causes)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "'alice'" in record.getMessage()]


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_who_had_used_up_all_by_the_groups_of_before_is_refused_and_the_log_says_why(
    api: FakeApi, caplog: pytest.LogCaptureFixture, trouble: str, is_open: bool
) -> None:
    status, words = TROUBLES[trouble]
    api.quotas["alice"] = known("alice", used_up(api), groups=("students",))
    api.failing, before = telling_fails(status), failed()
    with pytest.raises(HTTPError) as refused:
        await gate(failover_open=is_open).pre_spawn(spawner("alice", "staff"))
    assert refused.value.reason == "compute-quota-exceeded"
    head, _, tail = words.partition(".*")
    [line] = lines(caplog)
    assert line.startswith("hubquota: 'alice' is judged by the groups of before: ")
    assert head in line
    assert tail in line
    assert failed() == before


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_who_had_something_left_by_the_groups_of_before_goes_on_with_the_groups_of_now_on_the_pod(
    api: FakeApi, caplog: pytest.LogCaptureFixture, trouble: str, is_open: bool
) -> None:
    api.quotas["alice"] = known("alice", used_up(api, blocked=[]), groups=("students",))
    api.failing, before, starting = telling_fails(TROUBLES[trouble][0]), count("allowed"), spawner("alice", "staff")
    await gate(failover_open=is_open).pre_spawn(starting)
    assert count("allowed") == before + 1
    [line] = lines(caplog)
    assert line.startswith("hubquota: 'alice' is judged by the groups of before: ")
    pod: Json = await starting.modify_pod_hook(starting, {})
    assert json.loads(pod["metadata"]["annotations"]["hubquota.dev/groups"]) == ["staff"]


async def test_where_users_cannot_be_told_of_nobody_tries_again_and_again_and_all_are_judged(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    """An API server that takes no writes, as where etcd is full, tells what it has all the same."""
    names = [f"u{n}" for n in range(5)]
    api.quotas |= {name: known(name) for name in names}
    api.quotas |= {name: known(name, used_up(api)) for name in ("alice", "bob")}
    api.failing, hub = telling_fails(503), gate()
    await asyncio.gather(*(hub.pre_spawn(spawner(name, "staff")) for name in names))
    tried = api.asked_for("PATCH")
    for starting in (spawner("alice", "staff"), spawner("bob")):
        with pytest.raises(HTTPError) as refused:
            await hub.pre_spawn(starting)
        assert refused.value.reason == "compute-quota-exceeded"
    assert api.asked_for("PATCH") == tried
    [line] = [line for line in lines(caplog) if "judged by the groups of before" in line]
    assert line.endswith("(not tried again for this launch)")
