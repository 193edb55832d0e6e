"""Where the control plane comes from, in which order, and what each provider gives."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.testbed.binaries import Binaries
from tests.testbed.control_plane import NODE, ControlPlane
from tests.testbed.given import GivenControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.local import LocalControlPlane
from tests.testbed.patience import PATIENCE, until
from tests.testbed.processes import NotReady
from tests.testbed.providers import chosen, control_plane
from tests.testbed.rest import Rest, credentials

#: kind cannot run without an image registry, so only the choice of it is tested here.
NAMES = ("HUBQUOTA_TEST_KUBECONFIG", "KUBEBUILDER_ASSETS", "HUBQUOTA_CACHE")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment with nothing in it; gives the one folder of its path."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUBQUOTA_CACHE", str(tmp_path / "nothing-built"))
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path / "path"


def put(folder: Path, *programs: str, succeeds: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    for program in programs:
        (folder / program).write_text(f"#!/bin/sh\nexit {0 if succeeds else 1}\n")
        (folder / program).chmod(0o755)


def test_what_is_nearest_at_hand_is_taken_first(bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert chosen().name == "Go toolchain"
    put(bare, "docker", "kind")
    assert chosen().name == "kind"
    put(bare, "go")
    assert chosen().name == "Go toolchain"
    put(tmp_path / "assets", "etcd", "kube-apiserver")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert chosen().name == "KUBEBUILDER_ASSETS"
    monkeypatch.setenv("HUBQUOTA_TEST_KUBECONFIG", "anywhere")
    assert chosen().name == "HUBQUOTA_TEST_KUBECONFIG"


def test_kind_is_passed_over_where_no_docker_answers(bare: Path) -> None:
    put(bare, "kind")
    assert chosen().name == "Go toolchain"
    put(bare, "docker", succeeds=False)
    assert chosen().name == "Go toolchain"


def test_what_is_built_already_needs_no_toolchain(
    built_programs: Binaries, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bare, "docker", "kind")
    monkeypatch.setenv("HUBQUOTA_CACHE", str(built_programs["etcd"].parents[1]))
    assert chosen().name == "Go toolchain"


def test_assets_without_an_api_server_say_what_is_missing(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(tmp_path / "assets", "etcd")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    with pytest.raises(ValueError, match="has no kube-apiserver: name a folder with both, or unset it"):
        chosen()


@pytest.fixture
def assets(
    own_control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ControlPlane]:
    """The control plane of a folder that has etcd and kube-apiserver, as envtest's has, and nothing more."""
    folder = tmp_path / "assets"
    folder.mkdir()
    for program in ("etcd", "kube-apiserver"):
        (folder / program).symlink_to(own_control_plane.binaries[program].resolve())
    monkeypatch.delenv("HUBQUOTA_TEST_KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder))
    found = control_plane(tmp_path / "control-plane")
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.mark.cluster
def test_assets_without_a_controller_manager_still_empty_namespaces(assets: ControlPlane) -> None:
    assert isinstance(assets, LocalControlPlane)
    assert assets.controllers is None
    assets.apply(ROOT / "crds", "passing")
    quota = (
        '{"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": "a"}, "spec": {"user": "a"}}'
    )
    assert assets.kubectl("create", "-n", "passing", "-f", "-", stdin=quota).returncode == 0
    assets.end_namespace("passing")
    assert "not found" in assets.kubectl("get", "namespace", "passing").stderr
    assets.make_namespace("passing")
    assert assets.kubectl("get", "userquotas", "-n", "passing", "-o", "name").stdout == ""


@pytest.fixture
def given(own_control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch) -> str:
    """A caller's kubeconfig: with a client certificate in files beside it, and the server's certificate checked."""
    kubeconfig = str(own_control_plane.certificate_kubeconfig())
    monkeypatch.setenv("HUBQUOTA_TEST_KUBECONFIG", kubeconfig)
    return kubeconfig


@pytest.mark.cluster
@pytest.mark.usefixtures("given", "namespace_controller")
def test_a_given_cluster_is_left_as_it_was(own_control_plane: LocalControlPlane, tmp_path: Path) -> None:
    found = control_plane(tmp_path / "given")
    assert isinstance(found, GivenControlPlane)
    found.start()
    assert found.url == own_control_plane.url
    found.make_namespace("passing-given")
    with pytest.raises(httpx.HTTPStatusError, match="already exists"):
        found.make_namespace("default")
    found.stop()
    until(lambda: not own_control_plane.has_namespace("passing-given"))
    assert own_control_plane.has_namespace("default")
    assert own_control_plane.apiserver.running


@pytest.mark.cluster
async def test_client_certificates_and_service_accounts_are_known_from_a_given_kubeconfig(
    given: str, namespace: str, tmp_path: Path
) -> None:
    found = control_plane(tmp_path / "given")
    found.start()
    try:
        assert not credentials(found.kubeconfig).headers
        account = found.kubeconfig_for(namespace, "default")
        named = {await who(kubeconfig) for kubeconfig in (Path(given), found.kubeconfig)}
        assert (named, await who(account)) == ({"admin"}, f"system:serviceaccount:{namespace}:default")
    finally:
        found.stop()


async def who(kubeconfig: Path) -> str:
    """The user whom the API server takes us for."""
    async with Rest(kubeconfig) as rest:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        told = await rest.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(told["status"]["userInfo"]["username"])


def test_a_kubeconfig_that_cannot_be_used_says_what_to_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUBQUOTA_TEST_KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(NotReady, match="is no kubeconfig with a current context"):
        control_plane(tmp_path / "given").start()
    config = tmp_path / "exec"
    config.write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
        " clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: a, user: {exec: {}}}]}"
    )
    with pytest.raises(ValueError, match="write a kubeconfig with a token"):
        credentials(config)


@pytest.mark.cluster
@pytest.mark.hub
@pytest.mark.usefixtures("given", "namespace_controller")
def test_the_tests_themselves_run_on_a_given_cluster_and_name_those_that_cannot(
    own_control_plane: LocalControlPlane,
) -> None:
    told = run_tests("tests/bed/test_control_plane.py", "tests/bed/test_hub.py")
    assert "3 passed, 3 deselected" in told, told
    assert (
        "left out: tests that need own_control_plane, for etcd and kube-apiserver of HUBQUOTA_TEST_KUBECONFIG" in told
    )
    assert own_control_plane.apiserver.running
    deadline = time.monotonic() + PATIENCE
    while own_control_plane.kubectl("get", "node", NODE).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def run_tests(*paths: str) -> str:
    """The tests in a process of their own, as ``make test`` runs them."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={folder}/t", *paths]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr
