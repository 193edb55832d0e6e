"""Run by another Python, with the hook's file alone: traits, a launch that goes on and one that is refused.

It imports nothing of the tests, for nothing of theirs is there.
"""

# ruff: noqa: ANN401, PT017 - there is no pytest where this runs

import asyncio
import json
import logging
import sys
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

from kubernetes_asyncio.client import Configuration
from tornado.web import HTTPError
from traitlets import TraitError
from traitlets.config import Config

import hubquota_hook as hook

NOW = datetime.now(timezone.utc)  # noqa: UP017 - Python 3.10
UNTIL = (NOW + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
QUOTA = {
    "name": "weekly",
    "policies": ["weekly"],
    "resource": "memory",
    "window": {"rolling": "7d"},
    "limit": "40",
    "used": "41.5",
    "unit": "GiB-hours",
    "enforcement": "Deny",
    "message": "100% <b>used</b>",
    "blocked": [{"from": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), "until": UNTIL}],
    "blockedIfStopped": [],
}
EVENTS: "list[Any]" = []


class Api(BaseHTTPRequestHandler):
    """As much of an API server as a launch asks for."""

    def do_GET(self) -> None:
        user = self.path.rpartition("/")[2].partition("?")[0]
        if "/leases/" in self.path:
            body: Any = {"metadata": {}, "spec": {"renewTime": NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}
        elif "/userquotas/" in self.path:
            quotas = [QUOTA] if user == "heavy" else []
            spec = {"user": user, "groups": []}
            body = {"metadata": {"name": user}, "spec": spec, "status": {"observedGeneration": 1, "quotas": quotas}}
        else:
            body = {"items": []}
        self._answer(body)

    def do_POST(self) -> None:
        EVENTS.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(EVENTS[-1])

    def _answer(self, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def spawner(user: str, settings: Any) -> Any:
    """A launch of a user's."""
    nothing = dict.fromkeys(("mem_limit", "cpu_guarantee", "cpu_limit", "modify_pod_hook"))
    return SimpleNamespace(
        user=SimpleNamespace(name=user, groups=[]),
        name="",
        user_options={},
        namespace="hub",
        pod_name=f"jupyter-{user}",
        mem_guarantee=2**30,
        extra_resource_limits={},
        extra_resource_guarantees={},
        handler=SimpleNamespace(settings=settings),
        log=logging.getLogger("hub"),
        **nothing,
    )


async def launches() -> None:
    """Two launches by what setup_hubquota has configured."""
    c, settings = Config(), {"failure_count": 0}
    hook.setup_hubquota(c)
    started = spawner("light", settings)
    await c.KubeSpawner.pre_spawn_hook(started)
    pod = SimpleNamespace(metadata=SimpleNamespace(annotations=None))
    await started.modify_pod_hook(started, pod)
    assert pod.metadata.annotations["hubquota.dev/hub"] == "hub", pod
    try:
        await c.KubeSpawner.pre_spawn_hook(spawner("heavy", settings))
    except HTTPError as refused:
        text = refused.jupyterhub_message
        assert text.endswith(f"{UNTIL.replace('T', ' ')[:-1]} UTC (in 2 h). 100% <b>used</b>"), text
        assert "100% &lt;b&gt;used" in refused.jupyterhub_html_message
        assert refused.log_message % refused.args == text, refused.log_message
        assert settings == {"failure_count": 0 if vars(hook)["SpawnException"] else -1}
    else:
        raise AssertionError("the heavy user was let through")
    while not EVENTS:
        await asyncio.sleep(0.01)


def main() -> None:
    """Print the version that ran where all was right."""
    c = Config()
    c.HubQuota.timeout = -1
    try:
        hook.setup_hubquota(c)
    except TraitError as wrong:
        assert "Write a number of seconds" in str(wrong)
    else:
        raise AssertionError("a wrong trait was taken")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Configuration.set_default(Configuration(host=f"http://127.0.0.1:{server.server_port}"))
    asyncio.run(asyncio.wait_for(launches(), 60))
    print("%d.%d" % sys.version_info[:2])  # noqa: UP031


main()
