"""What is asked of Prometheus is bounded, tried again where that may help, and tells nobody a secret."""

import gzip
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubquota.prometheus import client
from hubquota.prometheus.answers import Series
from hubquota.prometheus.client import Prometheus
from hubquota.prometheus.errors import PrometheusError, TooMuch
from hubquota.settings import Settings
from tests.prometheus.conftest import Pretender, secret
from tests.testbed.certificates import Authority

NOTHING: dict[str, Any] = {"status": "success", "data": {"resultType": "vector", "result": []}}


async def asked(url: str, pauses: list[float] | None = None, **settings: Any) -> list[Series]:  # noqa: ANN401
    async def pause(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)

    async with Prometheus(Settings(prometheus_url=url, **settings), pause) as prometheus:
        return await prometheus.query("up", 1_000_000_500_000)


async def test_an_answer_is_read_to_the_millisecond(pretender: Pretender) -> None:
    row = {"metric": {"uid": "u"}, "value": [1777694400.123, "1.777694400123e+09"]}
    pretender.says(200, {"status": "success", "data": {"resultType": "vector", "result": [row]}})
    assert await asked(pretender.url) == [Series({"uid": "u"}, [(1777694400123000, 1777694400.123)])]
    assert "time=1000000.500" in pretender.asked[0].path


async def test_what_is_no_number_is_passed_over(pretender: Pretender) -> None:
    values = [[1, "NaN"], [2, "+Inf"], [3, "7"]]
    rows = [{"metric": {}, "values": values}]
    pretender.says(200, {"status": "success", "data": {"resultType": "matrix", "result": rows}})
    assert await asked(pretender.url) == [Series({}, [(3_000_000, 7.0)])]


async def test_a_redirect_is_not_followed_and_what_it_leads_to_gets_no_credentials(
    make_pretender: Callable[[], Pretender], tmp_path: Path
) -> None:
    first, second = make_pretender(), make_pretender()
    first.says(302, b"", location=f"{second.url}/login?next=x")
    second.says(200, NOTHING)
    with pytest.raises(PrometheusError, match=f"sends us on to {second.url}/login, which is not followed"):
        await asked(first.url, prometheus_token_file=secret(tmp_path, "hunter2"))
    assert (len(first.asked), second.asked) == (1, [])


async def test_neither_a_proxy_nor_a_netrc_of_the_environment_is_used(
    make_pretender: Callable[[], Pretender], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, proxy = make_pretender(), make_pretender()
    prometheus.says(200, NOTHING)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    await asked(prometheus.url)
    assert proxy.asked == []
    assert "authorization" not in prometheus.asked[0].headers


async def test_a_token_is_read_anew_for_each_call(pretender: Pretender, tmp_path: Path) -> None:
    pretender.says(200, NOTHING)
    file = secret(tmp_path, "first")
    async with Prometheus(Settings(prometheus_url=pretender.url, prometheus_token_file=file)) as prometheus:
        await prometheus.query("up", 0)
        file.write_text("second\n")
        await prometheus.query("up", 0)
    assert [r.headers["authorization"] for r in pretender.asked] == ["Bearer first", "Bearer second"]


async def test_a_user_and_a_password_are_sent_as_basic_authentication(pretender: Pretender, tmp_path: Path) -> None:
    pretender.says(200, NOTHING)
    await asked(pretender.url, prometheus_username="jürgen", prometheus_password_file=secret(tmp_path, "p:w"))
    assert pretender.asked[0].headers["authorization"] == "Basic asO8cmdlbjpwOnc="


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_secret_that_an_answer_repeats_is_not_shown(pretender: Pretender, tmp_path: Path, status: int) -> None:
    pretender.says(status, {"status": "error", "errorType": "bad_data", "error": "you sent Bearer hunter2"})
    with pytest.raises(PrometheusError) as caught:
        await asked(pretender.url, prometheus_token_file=secret(tmp_path, "hunter2"))
    assert "hunter2" not in str(caught.value)
    assert "you sent" in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
async def test_being_let_in_is_not_tried_again(pretender: Pretender, status: int) -> None:
    pretender.says(status, b"no")
    with pytest.raises(PrometheusError, match=r"does not let us in .* prometheus_token_file"):
        await asked(pretender.url)
    assert len(pretender.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again_after_longer_and_longer_pauses(pretender: Pretender, status: int) -> None:
    for _ in range(3):
        pretender.says(status, b"<html>busy</html>")
    pretender.says(200, NOTHING)
    pauses: list[float] = []
    assert await asked(pretender.url, pauses) == []
    assert len(pauses) == 3
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))


async def test_a_pause_that_is_asked_for_is_kept_within_bounds(pretender: Pretender) -> None:
    pretender.says(503, b"", retry_after="7")
    pretender.says(429, b"", retry_after="86400")
    pretender.says(503, b"", retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    pretender.says(200, NOTHING)
    pauses: list[float] = []
    await asked(pretender.url, pauses)
    assert pauses[:2] == [7, 30]
    assert pauses[2] <= 4


async def test_it_is_given_up_after_five_attempts_with_the_last_reason(pretender: Pretender) -> None:
    pretender.says(503, {"status": "error", "errorType": "unavailable", "error": "TSDB not ready"})
    with pytest.raises(PrometheusError, match="TSDB not ready, 5 times"):
        await asked(pretender.url)
    assert len(pretender.asked) == 5


async def test_a_server_that_hangs_is_given_up(pretender: Pretender) -> None:
    pretender.hangs = threading.Event()
    with pytest.raises(PrometheusError, match="did not answer within 1 s, 5 times"):
        await asked(pretender.url, prometheus_timeout=1)


async def test_a_server_that_is_not_there_is_told(make_pretender: Callable[[], Pretender]) -> None:
    with pytest.raises(PrometheusError, match=r"cannot be reached: .*connect"):
        await asked("http://127.0.0.1:9")


@pytest.mark.parametrize("packed", [False, True])
async def test_a_giant_answer_is_cut_off(pretender: Pretender, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 2**20)
    body = b"[" + b" " * 2**21
    pretender.says(200, gzip.compress(body) if packed else body, **({"content_encoding": "gzip"} if packed else {}))
    with pytest.raises(TooMuch, match="larger than 1 MiB"):
        await asked(pretender.url)
    assert len(pretender.asked) == 1


async def test_an_answer_of_too_many_samples_is_too_much(pretender: Pretender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_SAMPLES", 3)
    rows = [{"metric": {"a": str(n)}, "values": [[1, "1"], [2, "1"]]} for n in range(2)]
    pretender.says(200, {"status": "success", "data": {"resultType": "matrix", "result": rows}})
    with pytest.raises(TooMuch, match="more than 3 samples"):
        await asked(pretender.url)


@pytest.mark.parametrize(
    ("status", "kind", "why"),
    [
        (503, "timeout", "query timed out in expression evaluation"),
        (422, "execution", "query processing would load too many samples into memory in query execution"),
        (400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the ..."),
    ],
)
async def test_a_question_that_is_too_large_is_told_apart_and_not_repeated(
    pretender: Pretender, status: int, kind: str, why: str
) -> None:
    pretender.says(status, {"status": "error", "errorType": kind, "error": why})
    with pytest.raises(TooMuch, match="too long, or had too much to look at"):
        await asked(pretender.url)
    assert len(pretender.asked) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>Please log in\x1b[31m</html>", r"no Prometheus .*Please log in\\x1b.* prometheus_url"),
        (b"", "no Prometheus .* it says: nothing"),
        ([1], "no Prometheus"),
        (b"[" * 100_000, "no Prometheus"),
        ({"status": "success"}, "no known form"),
        ({"status": "success", "data": {"resultType": "string", "result": [1, "a"]}}, "no known form"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"metric": 1}]}}, "no known form"),
        ({"status": "success", "data": {"resultType": "vector", "result": 7}}, "no known form"),
    ],
)
async def test_what_is_no_answer_of_prometheus_is_told_as_such(pretender: Pretender, body: object, told: str) -> None:
    pretender.says(200, body)
    with pytest.raises(PrometheusError, match=told):
        await asked(pretender.url)
    assert len(pretender.asked) == 1


async def test_a_partial_answer_is_not_taken_for_the_whole(pretender: Pretender) -> None:
    pretender.says(200, NOTHING | {"warnings": ["store 10.0.0.7 is down"]})
    with pytest.raises(PrometheusError, match=r"not whole: .*10\.0\.0\.7"):
        await asked(pretender.url)
    assert "partial_response=false" in pretender.asked[0].path


@pytest.mark.parametrize("name", ["prometheus_token_file", "prometheus_password_file"])
@pytest.mark.parametrize("text", [None, "", "two\nlines", "a\x00b"])
def test_a_secret_that_cannot_be_used_is_told_without_it(tmp_path: Path, name: str, text: str | None) -> None:
    file = tmp_path / "secret"
    if text is not None:
        file.write_text(text)
    told: dict[str, Any] = {name: file} | ({"prometheus_username": "u"} if "password" in name else {})
    with pytest.raises(
        PrometheusError, match=f"{name}: .*secret (cannot be read|is empty or no single line)"
    ) as caught:
        Prometheus(Settings(prometheus_url="http://127.0.0.1:9", **told))
    assert not text or text not in str(caught.value)


async def test_certificates_are_checked_with_the_authorities_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(PrometheusError, match=r"prometheus_ca_file: .* holds no certificate"):
        Prometheus(Settings(prometheus_url="https://127.0.0.1:9", prometheus_ca_file=secret(tmp_path, "no PEM")))
    authority = tmp_path / "ca.pem"
    authority.write_bytes(Authority("tests").certificate)
    async with Prometheus(Settings(prometheus_url="https://127.0.0.1:9", prometheus_ca_file=authority)):
        pass


def test_without_an_address_nothing_is_asked() -> None:
    with pytest.raises(PrometheusError, match="write its address in prometheus_url"):
        Prometheus(Settings())
