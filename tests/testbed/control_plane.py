"""etcd, kube-apiserver and the namespace controller on the loopback interface."""

import json
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.testbed.binaries import Binaries
from tests.testbed.processes import Program, free_port

_TIMEOUT: Final = 30


class ControlPlane:
    """A cluster without nodes, in a folder of its own. Parts can be killed and started again on the same data."""

    def __init__(self, binaries: Binaries, folder: Path) -> None:
        self.binaries = binaries
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._token = secrets.token_hex(16)
        self._port, self._etcd_port, self._peer_port = free_port(), free_port(), free_port()
        self.kubeconfig = self._write_kubeconfig("admin", self._token)
        self.etcd = self._program("etcd", self._etcd_flags())
        self.apiserver = self._program("kube-apiserver", self._apiserver_flags())
        self.controllers = self._program("kube-controller-manager", self._controller_flags())

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def authority(self) -> Path:
        """The certificate of the API server, which it makes when it starts, with that of who signed it."""
        return self.folder / "certs" / "apiserver.crt"

    def start(self) -> None:
        """Start all parts and wait until the API answers. Raises NotReady with a part's last words."""
        self.etcd.start()
        self.apiserver.start()
        self.wait()
        self.controllers.start()

    def wait(self) -> None:
        """Wait until the API server says that it is ready."""
        self.apiserver.ready(self._answers)

    def stop(self) -> None:
        """End all parts, the last started first."""
        for part in (self.controllers, self.apiserver, self.etcd):
            part.stop(5)

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the cluster's admin; the caller judges its exit code."""
        command = [str(self.binaries["kubectl"]), f"--kubeconfig={self.kubeconfig}", *args]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def apply(self, crds: Path, *namespaces: str) -> None:
        """Apply CRDs, wait until they are served, and make namespaces. Raises RuntimeError with kubectl's words."""
        steps: list[tuple[str, ...]] = [("apply", "--server-side", "-f", str(crds))]
        steps.append(("wait", "--for=condition=Established", "--timeout=30s", "-f", str(crds)))
        steps += [("create", "namespace", name) for name in namespaces]
        for step in steps:
            done = self.kubectl(*step)
            if done.returncode:
                raise RuntimeError(done.stderr)

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with a real token of a service account, good for a day."""
        told = self.kubectl("create", "token", service_account, "-n", namespace, "--duration=24h")
        if told.returncode:
            raise RuntimeError(told.stderr)
        return self._write_kubeconfig(f"{namespace}-{service_account}", told.stdout.strip(), namespace)

    def _answers(self) -> bool:
        try:
            context = ssl._create_unverified_context()
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=_TIMEOUT, context=context) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _program(self, name: str, flags: Mapping[str, Any]) -> Program:
        command = [str(self.binaries[name]), *(f"--{flag}={value}" for flag, value in flags.items())]
        return Program(name, command, self.folder / f"{name}.log")

    def _etcd_flags(self) -> dict[str, Any]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        return {
            "data-dir": self.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "log-level": "warn",
        }

    def _apiserver_flags(self) -> dict[str, Any]:
        key = self.folder / "sa.key"
        key.write_bytes(_new_key())
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        return {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "secure-port": self._port,
            "bind-address": "127.0.0.1",
            "cert-dir": self.folder / "certs",
            "token-auth-file": tokens,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.0.0.0/24",
            # No controller makes service accounts' secrets here, and pods do not need them.
            "disable-admission-plugins": "ServiceAccount",
        }

    def _controller_flags(self) -> dict[str, Any]:
        return {
            "kubeconfig": self.kubeconfig,
            "controllers": "namespace-controller",
            "leader-elect": "false",
            "secure-port": "0",
            "use-service-account-credentials": "false",
        }

    def _write_kubeconfig(self, user: str, token: str, namespace: str = "default") -> Path:
        path = self.folder / f"kubeconfig-{user}"
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        context = {"cluster": "testbed", "user": user, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": context}],
            "current-context": "testbed",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path


def _new_key() -> bytes:
    """A private key for service accounts' tokens."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
