"""A kubeconfig that cannot be used is told in one line that names it and says what to do."""

from pathlib import Path

import pytest

from hubquota.cluster.api import ApiError, connected

GOOD = """
current-context: a
contexts: [{name: a, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""
BROKEN = {
    "no YAML": "a: [\n",
    "nothing": "",
    "null": "null",
    "a list": "- a",
    "no context": "a: 3",
    "other forms": "clusters: 3\ncurrent-context: a\ncontexts: [1]",
    "no such context": GOOD.replace("current-context: a", "current-context: b"),
    "no such cluster": GOOD.replace("cluster: c,", "cluster: d,"),
    "no certificate": GOOD.replace("server:", "certificate-authority-data: eHk=, server:"),
    "no base64": GOOD.replace("server:", 'certificate-authority-data: "%", server:'),
    "no such file": GOOD.replace("server:", "certificate-authority: /nowhere, server:"),
}


async def test_one_that_can_be_used_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "good").write_text(GOOD)
    monkeypatch.setenv("KUBECONFIG", str(file))
    async with connected(1) as api:
        with pytest.raises(ApiError, match=r"127\.0\.0\.1:1"):
            await api.get("/readyz")


@pytest.mark.parametrize("name", [*BROKEN, "not there"])
async def test_one_that_cannot_is_told_in_a_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    if name in BROKEN:
        file.write_text(BROKEN[name])
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(ApiError, match="there is no cluster: name a kubeconfig in KUBECONFIG") as told:
        async with connected(1):
            pass
    assert f"{file} cannot be used: " in str(told.value)
    assert "\n" not in str(told.value)
