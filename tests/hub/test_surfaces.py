"""A refusal is complete wherever a user meets it: the REST API, the progress, and each page of the hub."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.hub.launching import use_up
from tests.testbed.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.hub]
MESSAGE = "Ask <it@uni.edu> or see https://it.uni.edu/quotas"
ON_A_PAGE = (
    r"Your quota is used up: [\d.]+ of 1 MiB-hours of memory in any 7 days \(policy memory\)\.</p>\s*"
    r'<p>It will work again at <time datetime="[^"]+Z">[^<]+ UTC</time> \(in [^)]+\)\.</p>\s*'
    r'<p>Ask &lt;it@uni\.edu&gt; or see <a href="https://it\.uni\.edu/quotas" rel="noopener">https://it\.uni\.edu/quotas</a>'
)
IN_WORDS = (
    r"Your quota is used up: [\d.]+ of 1 MiB-hours of memory in any 7 days \(policy memory\)\. "
    r"It will work again at [-\d]+ [:\d]+ UTC \(in [^)]+\)\. Ask <it@uni\.edu> or see https://it\.uni\.edu/quotas"
)


@contextmanager
def logged_in(stage: Stage) -> Iterator[httpx.Client]:
    """Alice in her browser."""
    with httpx.Client(base_url=stage.hub.url, follow_redirects=True, timeout=30) as browser:
        browser.get("/hub/login")
        form = {"username": "alice", "password": "demo", "_xsrf": xsrf(browser)}
        assert browser.post("/hub/login?next=/hub/home", data=form).status_code == 200
        yield browser


def xsrf(browser: httpx.Client) -> str:
    return next(cookie.value or "" for cookie in browser.cookies.jar if cookie.name == "_xsrf")


def test_a_hub_that_waits_refuses_over_rest_and_on_the_form(waiting_stage: Stage) -> None:
    use_up(waiting_stage, MESSAGE)
    headers = {"Authorization": f"token {waiting_stage.hub.token}"}
    for server in ("server", "servers/second"):
        url = f"{waiting_stage.hub.url}/hub/api/users/alice/{server}"
        refused = httpx.post(url, headers=headers, timeout=30)
        assert refused.status_code == 403, refused.text
        assert re.search(IN_WORDS, refused.json()["message"]), refused.text
        assert int(refused.headers["Retry-After"]) > 6 * 86_400
    with logged_in(waiting_stage) as browser:
        browser.get("/hub/spawn/alice")
        page = browser.post("/hub/spawn/alice", data={"_xsrf": xsrf(browser), "profile": "small"})
        said = page.text.replace("&lt;", "<").replace("&gt;", ">")
        assert re.search(IN_WORDS, said), page.text
        assert "<it@" not in page.text
        page = browser.get("/hub/spawn/alice?profile=small")
        assert re.search(IN_WORDS, page.text.replace("&lt;", "<").replace("&gt;", ">")), page.text


def test_a_hub_as_z2jh_sets_it_up_refuses_in_the_progress_and_on_the_pages_after_it(stage: Stage) -> None:
    use_up(stage, MESSAGE)
    for server in ("", "second"):
        last = stage.hub.launch("alice", server)[-1]
        assert last["failed"]
        assert re.search(IN_WORDS, last["message"]), last
        assert re.search(ON_A_PAGE, last["html_message"]), last
    with logged_in(stage) as browser:
        for path in ("/hub/spawn-pending/alice", "/hub/spawn-pending/alice/second"):
            page = browser.get(path)
            assert re.search(ON_A_PAGE, page.text), page.text
