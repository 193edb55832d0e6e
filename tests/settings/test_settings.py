"""An operator takes what it is told, says what is wrong with it, and never shows a secret."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from hubquota.settings import Settings, SettingsError, load

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_later_file_wins_and_the_environment_wins_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = written(tmp_path / "common.yaml", "cluster: a\nlog_format: json\nlog_level: DEBUG\n")
    secret = written(tmp_path / "secret.yaml", "cluster: b\nlog_level: ERROR\n")
    monkeypatch.setenv("HUBQUOTA_LOG_LEVEL", "WARNING")
    settings = load([common, secret])
    assert (settings.cluster, settings.log_format, settings.log_level) == ("b", "json", "WARNING")


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert load([written(tmp_path / "empty.yaml", "")]) == load()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clutser: a", "clutser: Extra inputs are not permitted"),
        ("heartbeat_interval: 0", "heartbeat_interval: .* greater than or equal to 1"),
        ("hub_namespaces: [a, a]", "hub_namespaces: .* each once"),
        ("writer_renew_deadline: 20", "writer_retry_period < writer_renew_deadline"),
        ("prometheus_url: prom:9090", "prometheus_url: .* such as https://"),
        ("prometheus_url: file:///etc/passwd", "prometheus_url: .* such as https://"),
        ("prometheus_url: https://prom/?a=b", "prometheus_url: .* such as https://"),
        ("prometheus_url: http://prom:port", "prometheus_url: .*Port"),
        ("prometheus_url: http://u:hunter2@prom", "prometheus_url: .* prometheus_password_file instead"),
        ("prometheus_selector: {'a\"b': c}", "prometheus_selector: .* write letters, digits and _"),
        ("prometheus_names: {kube_pod_info: 'a{'}", "prometheus_names: .* write letters, digits and _"),
        ("prometheus_username: u", "both of prometheus_username and prometheus_password_file"),
        (
            "prometheus_username: u\nprometheus_password_file: p\nprometheus_token_file: t",
            "prometheus_token_file or prometheus_username, not both",
        ),
        ("hub_api_url: hub:8081\nhub_api_token_file: t", "hub_api_url: .* such as http://hub.{namespace}.svc"),
        ("hub_api_url: http://u:hunter2@hub\nhub_api_token_file: t", "hub_api_url: .* hub_api_token_file instead"),
        ("hub_api_url: http://{hub}/hub/api\nhub_api_token_file: t", "hub_api_url: .*{namespace} is the only word"),
        ("hub_api_urls: {a: ftp://hub}\nhub_api_token_file: t", "hub_api_urls: .* such as http://hub.{namespace}.svc"),
        ("hub_api_urls: {A_B: http://hub}\nhub_api_token_file: t", "hub_api_urls: .*'A_B' is no namespace"),
        ("hub_api_url: http://hub/hub/api", "write hub_api_token_file and one of hub_api_url and hub_api_urls"),
        ("hub_api_token_file: t", "write hub_api_token_file and one of hub_api_url and hub_api_urls"),
        ("- a", "name: value"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_with_its_fault(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load([written(tmp_path / "wrong.yaml", text)])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        load([tmp_path / "nowhere.yaml"])


def test_the_database_may_come_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = written(tmp_path / "url", "postgresql://u:hunter2@db/quota\n")
    config = written(tmp_path / "c.yaml", f"database_url_file: {secret}\ndatabase_url: sqlite:///hunter2.db\n")
    settings = load([config])
    assert settings.database() == "postgresql://u:hunter2@db/quota"
    assert "hunter2" not in f"{settings.printed()}{settings!r}"


def test_the_database_s_password_may_come_from_a_file_of_its_own_and_is_never_shown(tmp_path: Path) -> None:
    secret = written(tmp_path / "password", "p@ss:wörd/%?#\n")
    told = f"database_password_file: {secret}\ndatabase_url: postgresql://u@db:5432/quota?sslmode=require\n"
    settings = load([written(tmp_path / "c.yaml", told)])
    url = make_url(settings.database())
    assert (url.username, url.password, url.host, url.database) == ("u", "p@ss:wörd/%?#", "db", "quota")
    assert url.query == {"sslmode": "require"}
    assert "p@ss" not in f"{settings.printed()}{settings!r}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u:hunter2@db/quota", "holds a password too: write it in one place"),
        ("postgresql://db/quota", "names no user: write postgresql://USER@HOST"),
        ("postgresql://db/a@b", "names no user"),
        ("sqlite:///ledger.db", "names no user"),
    ],
)
def test_a_password_that_has_no_place_in_the_url_is_refused(tmp_path: Path, url: str, told: str) -> None:
    secret = written(tmp_path / "password", "hunter2")
    settings = load([written(tmp_path / "c.yaml", f"database_password_file: {secret}\ndatabase_url: {url}\n")])
    with pytest.raises(SettingsError, match=told) as caught:
        settings.database()
    assert "hunter2" not in str(caught.value)


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    told = f"database_password_file: {tmp_path}/none\ndatabase_url: postgresql://u@db/quota\n"
    with pytest.raises(SettingsError, match=r"database_password_file: No such file or directory: .*none"):
        load([written(tmp_path / "c.yaml", told)]).database()


@pytest.mark.parametrize("url", ["http://prom", "https://prom:9090/prefix/", "http://[::1]:9090"])
def test_prometheus_may_live_below_a_path(tmp_path: Path, url: str) -> None:
    assert load([written(tmp_path / "c.yaml", f"prometheus_url: '{url}'\n")]).prometheus_url == url.rstrip("/")


def test_each_hub_has_an_api_and_a_token_of_its_own(tmp_path: Path) -> None:
    text = "hub_api_url: 'http://hub.{namespace}.svc:8081/hub/api/'\nhub_api_token_file: '/tokens/{namespace}'\n"
    told = load([written(tmp_path / "c.yaml", f"{text}hub_api_urls: {{b: https://b.example/hub/api}}")])
    assert told.hub_api("a") == ("http://hub.a.svc:8081/hub/api", Path("/tokens/a"))
    assert told.hub_api("b") == ("https://b.example/hub/api", Path("/tokens/b"))
    assert load().hub_api("a") is None


def test_a_hub_that_is_not_named_is_not_asked(tmp_path: Path) -> None:
    text = "hub_api_urls: {b: https://b.example/hub/api}\nhub_api_token_file: /token\n"
    told = load([written(tmp_path / "c.yaml", text)])
    assert told.hub_api("a") is None
    assert told.hub_api("b") == ("https://b.example/hub/api", Path("/token"))


def test_credentials_in_an_address_are_not_repeated_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load([written(tmp_path / "c.yaml", "prometheus_url: http://u:hunter2@prom\n")])
    assert "hunter2" not in str(caught.value)


def test_a_wrong_secret_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load([written(tmp_path / "c.yaml", "database_url: [hunter2]\n")])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    row = next(line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{name}`"))
    shown = field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
    text = "empty" if shown == () else "none" if shown is None else str(shown)
    assert field.description is not None
    assert f"| {text} | {' '.join(field.description.split())} |" in row
