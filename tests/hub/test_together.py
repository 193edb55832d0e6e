"""Launches on real hubs with a real API server and operator: what starts, what goes on as before, and what is refused.

A refusal is complete wherever a user meets it: the REST API, the progress, and each page of the hub.
"""

import html
import json
import re
from typing import Any

import httpx
import pytest

from tests.hub.conftest import Together
from tests.hub.launching import at_once, logged_in, standing, words, xsrf
from tests.testbed.patience import PATIENCE, until

pytestmark = [pytest.mark.cluster, pytest.mark.hub]
ON_A_PAGE = (
    r"Your quota is used up: [\d.]+ of 1 MiB-hours of memory in any 7 days \(policy little\)\.</p>\s*"
    r'<p>It will work again at <time datetime="[^"]+Z">[^<]+ UTC</time> \(in [^)]+\)\.</p>\s*'
    r'<p>Ask &lt;it@uni\.edu&gt; or see <a href="https://it\.uni\.edu/quotas" rel="noopener">https://it\.uni\.edu/quotas</a>'
)
IN_WORDS = (
    r"Your quota is used up: [\d.]+ of 1 MiB-hours of memory in any 7 days \(policy little\)\. "
    r"It will work again at [-\d]+ [:\d]+ UTC \(in [^)]+\)\. Ask <it@uni\.edu> or see https://it\.uni\.edu/quotas"
)
#: As the hub that waits has it by a template of its own.
BY_A_TEMPLATE = IN_WORDS + r" \(as alice reads it\)"
#: Of every kind that a hub can have; "/" is none of them.
NAMES = [
    "first.last@university.example.edu",
    "Alice Upper",
    "josé·ünïcødé·名前",
    "x" * 100,
    "<img src=x onerror=alert(1)>",
    "{braces} %s 'quotes\" &amp;",
]


def marks(together: Together, pod: str) -> dict[str, str]:
    found: dict[str, str] = together.stage.get("pod", pod)["metadata"]["annotations"]
    return found


def pending(together: Together, user: str) -> list[str]:
    """The servers of a user that are on their way, or end."""
    servers = together.stage.hub.request("GET", f"/users/{user}")[1]["servers"]
    return [name for name, server in servers.items() if server["pending"]]


def ready(together: Together, user: str) -> bool:
    """Whether a user's server runs, as the hub has it."""
    servers = together.stage.hub.request("GET", f"/users/{user}")[1]["servers"]
    return bool(servers.get("", {}).get("ready"))


def log(together: Together) -> str:
    return together.stage.hub.program.log.read_text()


def pods(together: Together) -> dict[str, dict[str, Any]]:
    """All pods by their users."""
    told = together.stage.api.kubectl("-n", together.stage.namespace, "get", "pods", "-o", "json")
    items = json.loads(told.stdout)["items"]
    return {pod["metadata"]["annotations"]["hub.jupyter.org/username"]: pod for pod in items}


def test_a_first_launch_starts_says_what_is_left_and_marks_its_pod(together: Together) -> None:
    stage = together.stage
    events = stage.hub.launch("bob", profile="small")
    assert events[-1].get("ready"), events
    assert any("GiB-hours left in any 30 days; with this server it lasts" in e["message"] for e in events) or any(
        "400 of 400 GiB-hours left in any 30 days" in e["message"] for e in events
    ), events
    found = marks(together, "jupyter-bob")
    assert json.loads(found["hubquota.dev/groups"]) == ["students"]
    assert found["hubquota.dev/instance-type"] == "small"
    assert json.loads(found["primehub.io/usage"])["user"] == "bob"
    assert stage.get("uq", "bob")["spec"]["groups"] == ["students"]


@pytest.mark.parametrize("configured_for", ["Mine", "Spawner"])
def test_hooks_that_an_admin_has_run_as_before_and_what_they_raise_is_theirs(
    together: Together, configured_for: str
) -> None:
    hub = together.stage.hub if configured_for == "Mine" else together.waiting
    user = f"chained-{configured_for.lower()}"
    assert hub.launch(user)[-1].get("ready")
    found = marks(together, f"jupyter-{user}")
    assert (found["theirs/hook"], found["theirs/pod"]) == ("ran", "ran")
    assert found["hubquota.dev/component"] == "notebook"
    last = hub.launch("unwelcome")[-1]
    assert last["failed"]
    assert "theirs" in last["message"]
    assert "quota" not in last["message"]


def test_used_up_it_is_refused_again_and_again_and_the_hub_lives_on(together: Together) -> None:
    hub = together.stage.hub
    for _ in range(6):  # JupyterHub 5 ends itself after five failures in a row, as z2jh sets it
        last = hub.launch("alice")[-1]
        assert last["failed"]
        assert "Your quota is used up" in last["message"]
    assert hub.launch("after-alice")[-1].get("ready")
    # It would end itself two seconds later, so it is its words that tell.
    assert "consecutive spawn" not in log(together)
    told = httpx.get(f"{hub.url}/hub/metrics", timeout=10).text
    refused = re.search(r'hubquota_hook_refused_total\{reason="compute-quota-exceeded"\} ([\d.]+)', told)
    assert refused is not None, told
    assert float(refused[1]) >= 6
    assert re.search(r"hubquota_hook_allowed_total [1-9]", told), told
    assert "hubquota_hook_decision_seconds_bucket" in told


@pytest.mark.parametrize("server", ["", "second"])
def test_a_hub_as_z2jh_sets_it_up_refuses_in_the_progress_and_on_the_pages_after_it(
    together: Together, server: str
) -> None:
    hub = together.stage.hub
    last = hub.launch("alice", server)[-1]
    assert last["failed"]
    assert re.search(IN_WORDS, last["message"]), last
    assert re.search(ON_A_PAGE, last["html_message"]), last
    assert "<footer>for alice</footer>" in last["html_message"]
    with logged_in(hub, "alice") as browser:
        page = browser.get(f"/hub/spawn-pending/alice/{server}".rstrip("/"))
        assert re.search(ON_A_PAGE, page.text), page.text


@pytest.mark.parametrize("server", ["server", "servers/second"])
def test_a_hub_that_waits_refuses_over_rest_and_says_when_to_try_again(together: Together, server: str) -> None:
    hub = together.waiting
    refused = httpx.post(
        f"{hub.url}/hub/api/users/alice/{server}", headers={"Authorization": f"token {hub.token}"}, timeout=PATIENCE
    )
    assert refused.status_code == 403, refused.text
    assert re.fullmatch(BY_A_TEMPLATE, refused.json()["message"]), refused.text
    assert int(refused.headers["Retry-After"]) > 6 * 86_400


def test_a_hub_that_waits_refuses_on_the_form_and_where_a_link_starts_a_server(together: Together) -> None:
    with logged_in(together.waiting, "alice") as browser:
        browser.get("/hub/spawn/alice")
        form = {"_xsrf": xsrf(browser), "profile": "small"}
        page = at_once(lambda: browser.post("/hub/spawn/alice", data=form), together.waiting)
        assert re.search(BY_A_TEMPLATE, html.unescape(page.text)), page.text
        assert "<it@" not in page.text
        page = at_once(lambda: browser.get("/hub/spawn/alice?profile=small"), together.waiting)
        assert re.search(BY_A_TEMPLATE, html.unescape(page.text)), page.text


def test_a_class_that_is_refused_while_somebody_starts_does_not_end_the_hub(together: Together) -> None:
    hub = together.stage.hub
    servers = [f"nb{n}" for n in range(7)]
    assert {hub.begin("slow", server, {"profile": "gpu"})[0] for server in servers} == {202}
    until(lambda: log(together).count("hubquota refuses user='slow'") >= len(servers), lambda: log(together)[-3000:])
    assert hub.launch("quick")[-1].get("ready")  # the hub begins to count anew
    together.free.touch()
    until(lambda: not pending(together, "slow"), lambda: log(together)[-3000:])
    assert "consecutive spawn" not in log(together)
    assert hub.launch("quick", "second")[-1].get("ready")


def test_out_of_gpu_hours_still_starts_a_small_server(together: Together) -> None:
    for hub, user in ((together.stage.hub, "dan"), (together.waiting, "eve")):
        refused = hub.launch(user, profile="gpu")[-1]
        assert refused["failed"]
        assert "0 of 0 GPU-hours of nvidia.com/gpu" in refused["message"]
        assert "The limit is 0" in refused["message"]
        assert hub.launch(user, profile="small")[-1].get("ready")


def test_users_of_every_name_start_and_are_refused_and_what_they_are_called_is_never_html(together: Together) -> None:
    hub = together.stage.hub
    for name in NAMES:
        last = hub.launch(name, "gpu", profile="gpu")[-1]
        assert "The limit is 0" in last["message"], (name, last)
        assert f"<footer>for {escaped(name)}</footer>" in last["html_message"], last
        assert hub.begin(name)[0] in (201, 202), name
    for name in NAMES:
        assert hub.progress(name)[-1].get("ready"), name
    made = pods(together)
    for name in NAMES:
        assert json.loads(made[name]["metadata"]["annotations"]["primehub.io/usage"])["user"] == name
    told = together.stage.api.kubectl("-n", together.stage.namespace, "get", "uq", "-o", "json")
    assert set(NAMES) <= {quota["spec"]["user"] for quota in json.loads(told.stdout)["items"]}


def escaped(name: str) -> str:
    for char, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        name = name.replace(char, code)
    return name


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "<b>nobody's</b>"},
        {"profile": ["small"]},
        {"profile": {"a": [None, 1.5]}},
        {"profile": 10**300},
        {"profile": "small\u0000\ud7ff"},
        {"profile": True},
    ],
)
def test_options_that_cannot_be_started_are_refused_in_words_and_the_hub_lives_on(
    together: Together, options: dict[str, Any]
) -> None:
    status, told = together.waiting.begin("tess", options=options)
    assert status == 400, told
    assert "The chosen server options cannot be used" in told["message"]
    assert "consecutive spawn" not in together.waiting.program.log.read_text()


def test_options_that_the_hub_does_not_know_are_no_reason_to_refuse(together: Together) -> None:
    options = {"profile": "small", "": {"a": ["</script>"] * 100}, "{{ 7*7 }}": None}
    assert together.waiting.begin("uma", options=options)[0] in (201, 202)


def test_a_hub_that_is_started_again_keeps_its_servers_and_refuses_as_before(together: Together) -> None:
    stage = together.stage
    assert stage.hub.launch("zoe")[-1].get("ready")
    before = stage.get("pod", "jupyter-zoe")["metadata"]["uid"]
    until(lambda: bool(standing(stage, "zoe").get("running")), lambda: words(stage))
    running = standing(stage, "zoe")["running"]
    stage.hub.stop()
    stage.hub.start()
    until(lambda: ready(together, "zoe"), lambda: words(stage))  # hubs check many servers behind their start
    assert stage.hub.launch("alice")[-1]["failed"]
    assert stage.hub.launch("zoe", "second")[-1].get("ready")
    assert stage.get("pod", "jupyter-zoe")["metadata"]["uid"] == before
    assert [server for server in standing(stage, "zoe")["running"] if server["server"] == ""] == running
