"""What an admin applies, as kubectl renders it: accounts and Roles here are those of the manifests, and no others."""

import subprocess
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.testbed.control_plane import ControlPlane
from tests.testbed.patience import until

MANIFESTS: Final = Path(__file__).parents[2] / "manifests"
#: The operator's service account.
OPERATOR: Final = "hubquota-operator"
_RIGHTS: Final = ("ServiceAccount", "Role", "RoleBinding")
#: Where the base puts everything.
_NAMESPACE: Final = "namespace: jupyterhub\n"

Json = dict[str, Any]


def rendered(kubectl: Path, folder: str = "base", namespace: str = "jupyterhub") -> list[Json]:
    """All objects of a folder of manifests, those of the base's namespace moved to another one.

    Raises RuntimeError with kubectl's words.
    """
    return list(yaml.safe_load_all(_text(kubectl, folder).replace(_NAMESPACE, f"namespace: {namespace}\n")))


def give_rights(api: ControlPlane, namespace: str, folder: str = "base") -> None:
    """Make a folder's accounts and Roles, for a hub and its operator in one namespace, and wait until they hold.

    Raises httpx.HTTPError.
    """
    made = [body for body in rendered(api.kubectl_program, folder, namespace) if body["kind"] in _RIGHTS]
    for body in made:
        api.objects(body["metadata"]["namespace"]).apply(body)
    roles = {(b["metadata"]["namespace"], b["metadata"]["name"]): b["rules"][0] for b in made if b["kind"] == "Role"}
    for binding in (body for body in made if body["kind"] == "RoleBinding"):
        where = binding["metadata"]["namespace"]
        rule, whose = roles[where, binding["roleRef"]["name"]], binding["subjects"][0]
        until(partial(api.objects(where).allows, f"system:serviceaccount:{whose['namespace']}:{whose['name']}", rule))


def apply_cluster(api: ControlPlane) -> None:
    """Make what is there once in a cluster: the policy admins' role, the policy on pods. Raises RuntimeError."""
    done = api.kubectl("apply", "--server-side", "-k", str(MANIFESTS / "cluster"))
    if done.returncode:
        raise RuntimeError(done.stderr)


def operator_kubeconfig(api: ControlPlane, namespace: str) -> Path:
    """A kubeconfig of the operator's service account, with its Roles and nothing more. Raises httpx.HTTPError."""
    give_rights(api, namespace)
    return api.kubeconfig_for(namespace, OPERATOR)


@cache
def _text(kubectl: Path, folder: str) -> str:
    command = [str(kubectl), "kustomize", str(MANIFESTS / folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
