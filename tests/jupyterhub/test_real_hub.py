"""Each real JupyterHub that the hook serves, asked with no more rights than the guide says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hubquota.jupyterhub import HubApi, HubApiError
from hubquota.settings import Settings
from tests.hub.launching import standing, words
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import MANIFESTS
from tests.testbed.patience import until
from tests.testbed.stage import Stage, policy

pytestmark = [pytest.mark.cluster, pytest.mark.hub]
#: As z2jh makes services and roles of what the guide has an admin write.
VALUES: dict[str, Any] = yaml.safe_load((MANIFESTS / "z2jh-hub-api-values.yaml").read_text())["hub"]
ROLE: dict[str, Any] = VALUES["loadRoles"]["hubquota"]
SERVICES = f"""
for name, scopes in {{"hubquota": {ROLE["scopes"]}, "names-only": ["list:users"], "nothing": []}}.items():
    c.JupyterHub.services.append({{"name": name, "api_token": f"{{name}}-secret"}})
    c.JupyterHub.load_roles.append({{"name": name, "scopes": scopes, "services": [name]}})
c.JupyterHub.load_roles[0]["scopes"].append("groups")  # the test's own service has groups changed
c.JupyterHub.api_page_default_limit = c.JupyterHub.api_page_max_limit = 2
"""


def written(folder: Path, token: str) -> str:
    file = folder / token
    file.write_text(token)
    return str(file)


@pytest.fixture
def stage(api: ControlPlane, namespace: str, python: Path, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(api, namespace, tmp_path / "stage", SERVICES, python)
    token = written(tmp_path, "hubquota-secret")
    told = {"URL": f"{made.hub.url}/hub/api", "TOKEN_FILE": token, "INTERVAL": "1"}
    made.operator.env = {**made.operator.env, **{f"HUBQUOTA_HUB_API_{name}": text for name, text in told.items()}}
    try:
        made.start()
        yield made
    finally:
        made.operator.kill()  # a stop in order takes seconds
        made.stop()


async def refused(stage: Stage, folder: Path, token: str) -> str:
    settings = Settings(hub_api_url=f"{stage.hub.url}/hub/api", hub_api_token_file=written(folder, token))
    async with HubApi(settings, "hub") as api:
        with pytest.raises(HubApiError) as told:
            await api.groups()
    return str(told.value)


def groups(stage: Stage, user: str) -> list[str] | None:
    found: list[str] | None = stage.get("uq", user).get("spec", {}).get("groups")
    return found


def decided_by(stage: Stage, user: str) -> list[str]:
    """The groups by which the user's quotas hold."""
    return [quota["group"] for quota in standing(stage, user).get("quotas", [])]


async def test_its_users_groups_are_known_before_they_launch_and_a_launch_has_nothing_to_add(
    stage: Stage, tmp_path: Path
) -> None:
    limit = {"value": 0, "unit": "GPU-hours"}
    scope = {"groups": ["students"]}
    stage.apply(policy("gpu", scope=scope, resource="nvidia.com/gpu", limit=limit, window={"rolling": "1d"}))
    until(lambda: decided_by(stage, "alice") == ["students"], lambda: words(stage))
    until(lambda: groups(stage, "carol") == ["staff"], lambda: words(stage))
    for path, body in (("/users/dave", None), ("/groups/students/users", {"users": ["dave"]})):
        status, told = stage.hub.request("POST", path, body)
        assert status in (200, 201), told
    until(lambda: groups(stage, "dave") == ["students"], lambda: words(stage))
    assert stage.hub.launch("alice", profile="gpu")[-1].get("failed")
    assert stage.hub.launch("alice", profile="small")[-1].get("ready"), stage.hub.program.last_words()
    alice = stage.get("uq", "alice")
    assert alice["metadata"]["generation"] == 1, json.dumps(alice["spec"])
    assert not stage.get("uq", "admin")  # in no group
    assert "does not let us in (status 403)" in await refused(stage, tmp_path, "nothing-secret")
    assert "read:users:groups" in await refused(stage, tmp_path, "names-only-secret")
    assert "does not let us in" in await refused(stage, tmp_path, "wrong")
