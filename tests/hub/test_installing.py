"""Both ways to install the hook: the one file that z2jh mounts, and pip."""

import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import hubquota_hook
from tests.hub.interpreters import isolated
from tests.testbed.environments import hub_python
from tests.testbed.hub import ROOT
from tests.testbed.z2jh import hooked

pytestmark = pytest.mark.hub
HOOK = ROOT / "hub_hook"
SCRIPT = Path(__file__).with_name("launch_alone.py")
WHERE = """
import hubquota_hook
assert c.KubeSpawner.pre_spawn_hook is c.Spawner.pre_spawn_hook
assert c.HubQuota.failover_open is True
print(hubquota_hook.__file__)
"""


def run(python: Path, *args: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(python), *args]
    return subprocess.run(command, cwd=folder, env=isolated(), capture_output=True, text=True, timeout=300, check=False)


def test_z2jh_s_values_mount_the_file_and_nothing_else_is_installed(tmp_path: Path) -> None:
    python = hub_python("5")
    assert "No module named" in run(python, "-c", "import hubquota_hook", folder=tmp_path).stderr
    config = "from traitlets.config import Config; c = Config()\n" + hooked(tmp_path / "root")
    done = run(python, "-c", config + WHERE, folder=tmp_path)
    mounted = tmp_path / "root" / "usr" / "local" / "etc" / "jupyterhub" / "hubquota_hook.py"
    assert done.stdout.strip() == str(mounted), done.stderr
    assert mounted.read_bytes() == (HOOK / "hubquota_hook.py").read_bytes()
    assert len(mounted.read_bytes()) < 500_000  # the chart puts it into a Secret, which holds 1 MiB


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip makes of the folder."""
    folder = tmp_path_factory.mktemp("wheel")
    done = run(hub_python("5"), "-m", "pip", "wheel", "-q", "--no-deps", "-w", ".", str(HOOK), folder=folder)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_is_the_file_for_every_python_that_hubs_have_and_brings_nothing_along(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = [name for name in opened.namelist() if ".dist-info/" not in name]
        (metadata,) = (name for name in opened.namelist() if name.endswith("/METADATA"))
        told = Parser().parsestr(opened.read(metadata).decode())
        assert opened.read("hubquota_hook.py") == (HOOK / "hubquota_hook.py").read_bytes()
    assert names == ["hubquota_hook.py"]
    assert (told["Version"], told["Requires-Python"]) == (hubquota_hook.__version__, ">=3.10")
    assert told["Requires-Dist"] is None
    assert "py3-none-any" in wheel.name


def test_installed_by_pip_into_a_hub_s_environment_it_judges_launches(wheel: Path, tmp_path: Path) -> None:
    hub, home = hub_python("5"), tmp_path / "env"
    assert run(hub, "-m", "venv", "--without-pip", str(home), folder=tmp_path).returncode == 0
    (site,) = home.glob("lib/python3*/site-packages")
    (installed,) = hub.parents[1].glob("lib/python3*/site-packages")
    (site / "hub.pth").write_text(f"{installed}\n")  # as an image has it already
    pip = ("-m", "pip", "--python", str(home / "bin" / "python"), "install", "-q", "--no-index", "--no-deps")
    done = run(hub, *pip, str(wheel), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (site / "hubquota_hook.py").exists()
    (tmp_path / "launch_alone.py").write_text(SCRIPT.read_text())
    done = run(home / "bin" / "python", "launch_alone.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
