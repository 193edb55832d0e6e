"""etcd, kube-apiserver and the namespace controller on the loopback interface, as programs of ours."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.testbed.binaries import Binaries
from tests.testbed.certificates import Authority
from tests.testbed.control_plane import ControlPlane, one_context, write_kubeconfig
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import Program, free_port


class LocalControlPlane(ControlPlane):
    """A cluster without nodes, in a folder of its own. Parts can be killed and started again on the same data.

    Where there is no kube-controller-manager, ``controllers`` is None and nobody empties deleted namespaces.
    """

    def __init__(self, binaries: Binaries, folder: Path) -> None:
        super().__init__(folder, binaries["kubectl"])
        self.binaries = binaries
        self.empties_namespaces = "kube-controller-manager" in binaries
        self._token = secrets.token_hex(16)
        self._port, self.etcd_port, self._peer_port = free_port(), free_port(), free_port()
        self._clients = Authority("testbed-clients")
        server = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": str(self.authority)}
        write_kubeconfig(self.kubeconfig, one_context("testbed", server, {"token": self._token}))
        self.etcd = self._program("etcd", self._etcd_flags())
        self.apiserver = self._program("kube-apiserver", self._apiserver_flags())
        self.controllers: Program | None = None
        if self.empties_namespaces:
            self.controllers = self._program("kube-controller-manager", self._controller_flags())

    @property
    def authority(self) -> Path:
        """The certificate of the API server, which it makes when it starts, with that of who signed it."""
        return self.folder / "certs" / "apiserver.crt"

    def start(self) -> None:
        """Start all parts and wait until the API answers. Raises NotReady with a part's last words."""
        self.etcd.start()
        self.apiserver.start()
        self.wait()
        if self.controllers is not None:
            self.controllers.start()

    def wait(self, seconds: float = PATIENCE) -> None:
        """Wait until the API server says that it is ready, or has ended."""
        self.apiserver.ready(lambda: not self._not_ready(), seconds)

    def stop(self) -> None:
        """End all parts, the last started first."""
        for part in (self.controllers, self.apiserver, self.etcd):
            if part is not None:
                part.stop(5)

    def forget_history(self) -> None:
        """Have etcd keep nothing but what is now, and the API server begin anew: older watches cannot be taken up."""
        url = f"http://127.0.0.1:{self.etcd_port}/v3/kv"
        now = (
            httpx.post(f"{url}/range", json={"key": "AA=="}, timeout=10).raise_for_status().json()["header"]["revision"]
        )
        httpx.post(f"{url}/compaction", json={"revision": now, "physical": True}, timeout=30).raise_for_status()
        self.apiserver.kill()
        self.apiserver.start()
        self.wait()

    def certificate_kubeconfig(self) -> Path:
        """An administrator's kubeconfig as clusters' installers write it: a client certificate, and files beside it."""
        certificate, key = self._clients.client("admin", "system:masters")
        (self.folder / "admin.crt").write_bytes(certificate)
        (self.folder / "admin.key").write_bytes(key)
        cluster = {"server": self.url, "certificate-authority": "certs/apiserver.crt"}
        user = {"client-certificate": "admin.crt", "client-key": "admin.key"}
        return write_kubeconfig(self.folder / "kubeconfig-certificate", one_context("given", cluster, user))

    def _program(self, name: str, flags: Mapping[str, Any]) -> Program:
        command = [str(self.binaries[name]), *(f"--{flag}={value}" for flag, value in flags.items())]
        return Program(name, command, self.folder / f"{name}.log")

    def _etcd_flags(self) -> dict[str, Any]:
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self._peer_port}"
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
        key, tokens, clients = (self.folder / name for name in ("sa.key", "tokens.csv", "clients.crt"))
        key.write_bytes(_new_key())
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        clients.write_bytes(self._clients.certificate)
        return {
            "etcd-servers": f"http://127.0.0.1:{self.etcd_port}",
            "secure-port": self._port,
            "bind-address": "127.0.0.1",
            "cert-dir": self.folder / "certs",
            "token-auth-file": tokens,
            "client-ca-file": clients,
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


def _new_key() -> bytes:
    """A private key for service accounts' tokens."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
