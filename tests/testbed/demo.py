"""Everything on this machine, for a person to try; Ctrl-C, SIGTERM and a closed terminal end all of it."""

import contextlib
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.providers import control_plane
from tests.testbed.stage import Stage

_NAMESPACE: Final = "demo"
#: Seconds that a server takes to start, as if its image had to be pulled: time to read what is left.
_PULL: Final = 6
_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WELCOME: Final = """
hubquota is up. Open

    {url}

and log in as alice, bob (students) or carol, password "demo". Start a server: the page says what is left while it
starts. After a minute or two your quota is used up; stop the server, start it again, and read why and until when not.

What an admin sees:

    export KUBECONFIG={kubeconfig}
    {kubectl} get -n {namespace} quotapolicies,userquotas

Logs are in

    {folder}

Ctrl-C ends everything.
"""


def main() -> int:
    """Set up, tell, and wait for Ctrl-C."""
    _tell("hubquota demo: the first run builds a kube-apiserver, which takes some minutes")
    with tempfile.TemporaryDirectory(prefix="hubquota-demo-") as name, contextlib.ExitStack() as ending:
        folder = Path(name)
        api = control_plane(folder / "control-plane", sys.stdout)
        ending.callback(api.stop)
        for number in _ENDS:  # also where a shell started us with SIGINT ignored
            signal.signal(number, _end)
        try:
            _set_up(api, folder, ending)
            signal.pause()
        except KeyboardInterrupt:
            _tell("\nending ...")
    _tell("nothing is left running")
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    """End in order, once: make and uv may pass on a Ctrl-C that the terminal has sent to us as well."""
    for other in _ENDS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell(text: str) -> None:
    """Say something, if the terminal is still there."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def _set_up(api: ControlPlane, folder: Path, ending: contextlib.ExitStack) -> None:
    _tell("starting the control plane ...")
    api.start()
    api.apply(ROOT / "crds", _NAMESPACE)
    _tell("starting fake kubelet, JupyterHub and operator ...")
    stage = Stage(api, _NAMESPACE, folder / "stage", pull=_PULL)
    ending.callback(stage.stop)
    stage.start()
    done = api.kubectl("apply", "-n", _NAMESPACE, "-f", str(ROOT / "manifests" / "examples" / "demo.yaml"))
    _tell(done.stdout or done.stderr)
    words = {"url": stage.hub.url, "kubeconfig": api.kubeconfig, "namespace": _NAMESPACE, "folder": folder}
    _tell(_WELCOME.format(**words, kubectl=api.kubectl_program))


if __name__ == "__main__":
    sys.exit(main())
