"""An operator takes what it is told, says what is wrong with it, and never shows a secret."""

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("url", ["http://prom", "https://prom:9090/prefix/", "http://[::1]:9090"])
def test_prometheus_may_live_below_a_path(tmp_path: Path, url: str) -> None:
    assert load([written(tmp_path / "c.yaml", f"prometheus_url: '{url}'\n")]).prometheus_url == url.rstrip("/")


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
