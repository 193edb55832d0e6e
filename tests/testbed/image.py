"""Run the image as the Deployment of the manifests says, against a real API server, until it serves; then end it.

Needs a Docker engine whose containers reach this machine's loopback interface (``--network=host``).
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.testbed.binaries import built
from tests.testbed.hub import ROOT
from tests.testbed.local import LocalControlPlane
from tests.testbed.manifests import OPERATOR, give_rights, rendered
from tests.testbed.processes import NotReady, Program

_NAMESPACE: Final = "jupyterhub"
_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

Json = dict[str, Any]


def run(api: LocalControlPlane, folder: Path) -> None:
    """Serve, and stop in order. Raises NotReady with the operator's last words."""
    give_rights(api, _NAMESPACE)
    program = Program("operator", ["docker", "run", *_flags(api, folder)], folder / "operator.log")
    program.start()
    try:
        program.ready(lambda: f"hub={_NAMESPACE} is served" in program.last_words(100_000))
    finally:
        program.stop(30)
    if "told to stop" not in program.last_words():
        raise NotReady(f"the operator did not stop in order:\n{program.last_words()}")


def _flags(api: LocalControlPlane, folder: Path) -> list[str]:
    objects = {body["kind"]: body for body in rendered(api.kubectl_program)}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    rights, user = container["securityContext"], pod["securityContext"]
    address = urlsplit(api.url)
    return [
        *("--rm", "--network=host", f"--user={user['runAsUser']}:{user['runAsGroup']}"),
        *("--read-only",) * rights["readOnlyRootFilesystem"],
        *(f"--cap-drop={name}" for name in rights["capabilities"]["drop"]),
        f"--security-opt=no-new-privileges={not rights['allowPrivilegeEscalation']}".lower(),
        *(f"--env=KUBERNETES_SERVICE_{k}={v}" for k, v in (("HOST", address.hostname), ("PORT", address.port))),
        f"--volume={_account(api, folder / 'account')}:{_ACCOUNT}:ro",
        *(_mount(mount, pod["volumes"], objects, folder) for mount in container["volumeMounts"]),
        f"--workdir={container['workingDir']}",
        container["image"],
        *container["args"],
    ]


def _mount(mount: Json, volumes: list[Json], objects: dict[str, Json], folder: Path) -> str:
    volume = next(v for v in volumes if v["name"] == mount["name"])
    here = folder / mount["name"]
    here.mkdir()
    if "configMap" in volume:
        for name, text in objects["ConfigMap"]["data"].items():
            (here / name).write_text(text)
    else:
        here.chmod(0o777)  # what fsGroup does in a cluster
    return f"--volume={here}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"


def _account(api: LocalControlPlane, here: Path) -> Path:
    here.mkdir()
    told = api.kubectl("create", "token", OPERATOR, "-n", _NAMESPACE)
    (here / "token").write_text(told.stdout.strip())
    (here / "namespace").write_text(_NAMESPACE)
    shutil.copy(api.authority, here / "ca.crt")
    return here


def main() -> int:
    """Start a control plane, run the image, end both; 1 where it did not serve."""
    with tempfile.TemporaryDirectory(prefix="hubquota-image-") as folder:
        api = LocalControlPlane(built(), Path(folder) / "control-plane")
        try:
            api.start()
            api.apply(ROOT / "crds", _NAMESPACE)
            run(api, Path(folder))
        except NotReady as fault:
            print(fault, file=sys.stderr)
            return 1
        finally:
            api.stop()
    print("the image serves a hub and stops in order, with no more than the Deployment gives it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
