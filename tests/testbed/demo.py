"""Everything on this machine, for a person to try; Ctrl-C ends all of it."""

import contextlib
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.providers import control_plane
from tests.testbed.stage import Stage

_NAMESPACE: Final = "demo"
_WELCOME: Final = """
hubquota is up. Open

    {url}

and log in as alice, bob (students) or carol, password "demo". Start a server: the page says what is left while it
starts. After a minute or two your quota is used up; stop the server, start it again, and read why and until when not.

What an admin sees:

    export KUBECONFIG={kubeconfig}
    kubectl get -n {namespace} quotapolicies,userquotas

(kubectl is {kubectl}.) Logs are in {folder}. Ctrl-C ends everything.
"""


def main() -> int:
    """Set up, tell, and wait for Ctrl-C."""
    print("hubquota demo: the first run builds a kube-apiserver, which takes some minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="hubquota-demo-") as name, contextlib.ExitStack() as ending:
        folder = Path(name)
        api = control_plane(folder / "control-plane", sys.stdout)
        ending.callback(api.stop)
        for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us with SIGINT ignored
            signal.signal(number, signal.default_int_handler)
        try:
            _set_up(api, folder, ending)
            signal.pause()
        except KeyboardInterrupt:
            print("\nending ...", flush=True)
    print("nothing is left running", flush=True)
    return 0


def _set_up(api: ControlPlane, folder: Path, ending: contextlib.ExitStack) -> None:
    print("starting the control plane ...", flush=True)
    api.start()
    api.apply(ROOT / "crds", _NAMESPACE)
    print("starting fake kubelet, JupyterHub and operator ...", flush=True)
    stage = Stage(api, _NAMESPACE, folder / "stage")
    ending.callback(stage.stop)
    stage.start()
    done = api.kubectl("apply", "-n", _NAMESPACE, "-f", str(ROOT / "manifests" / "examples" / "demo.yaml"))
    print(done.stdout or done.stderr, flush=True)
    words = {"url": stage.hub.url, "kubeconfig": api.kubeconfig, "namespace": _NAMESPACE, "folder": folder}
    print(_WELCOME.format(**words, kubectl=api.kubectl_program), flush=True)


if __name__ == "__main__":
    sys.exit(main())
