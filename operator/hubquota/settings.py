"""What an operator can be told: by files (``--config`` repeats, later wins), then by environment, which wins over all.

Every secret can be given as a file (``*_file``), so that it stands neither in an argument nor in the environment.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import quote, urlsplit

import yaml
from pydantic import (
    Field,
    IPvAnyAddress,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_LABEL: Final = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_NAMESPACE: Final = "{namespace}"
_HUB_API: Final = "http://hub.{namespace}.svc:8081/hub/api"
_METRIC: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"


class SettingsError(Exception):
    """The settings cannot be used; the message names the setting, its fault, and what to write instead."""


class Settings(BaseSettings):
    """All settings of one operator. Environment: ``HUBQUOTA_`` and the name in capitals, lists as JSON."""

    model_config = SettingsConfigDict(
        env_prefix="HUBQUOTA_", frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    hub_namespaces: tuple[str, ...] = Field(default=(), max_length=500)
    """Namespaces of the hubs to serve. Empty: the operator's own namespace."""
    hub_selector: str | None = Field(default=None, min_length=1, max_length=1000)
    """Selector of labels, such as `hubquota.dev/hub=true`: namespaces that match are served, as they come and go,
    instead of ``hub_namespaces``."""
    hub_selector_interval: float = Field(default=15, ge=1, le=600)
    """Seconds between looks at which namespaces match ``hub_selector``."""
    operator_namespace: str | None = Field(default=None, pattern=DNS_LABEL)
    """Where the writer's Lease lives. None: the namespace of the kubeconfig's context, or of the operator's own pod."""
    cluster: str = Field(default="default", min_length=1, max_length=253)
    """Name of this cluster in the ledger; matters where several clusters write into one database."""
    database_url: SecretStr = SecretStr("sqlite:///hubquota.db")
    """The ledger, as an SQLAlchemy URL. The default is an SQLite file in the working directory."""
    database_url_file: Path | None = None
    """File that holds ``database_url``. None: there is none."""
    database_password_file: Path | None = None
    """File that holds the password of the user in ``database_url``, read at the start. None: there is none."""
    heartbeat_interval: float = Field(default=10, ge=1, le=60)
    """Seconds between renewals of the heartbeat that hubs judge the operator by."""
    resync_interval: float = Field(default=60, ge=5, le=600)
    """Seconds between listings of all pods, compared with the ledger; also how fresh ``last_seen`` is kept there."""
    request_timeout: float = Field(default=10, ge=1, le=60)
    """Seconds that one call to the API server may take."""
    writer_lease_duration: float = Field(default=10, ge=3, le=60)
    """Seconds after which a standby may take over from a writer that was not heard of."""
    writer_renew_deadline: float = Field(default=7, ge=2, le=59)
    """Seconds after its last renewal at which a writer stops itself. Less than ``writer_lease_duration``."""
    writer_retry_period: float = Field(default=2, ge=0.2, le=30)
    """Seconds between attempts to get or renew the writer's Lease. Less than ``writer_renew_deadline``."""
    node_labels: tuple[str, ...] = Field(default=(), max_length=20)
    """Keys of nodes' labels to keep with each pod in the ledger. Empty: none, and nodes are not read."""
    max_user_quotas: int = Field(default=50_000, ge=1, le=200_000)
    """UserQuotas a hub may have; at the cap no more are made, so that open sign-up cannot fill etcd."""
    user_quota_retention: float = Field(default=2_592_000, ge=1, le=315_360_000)
    """Seconds after which the UserQuota of a user unseen and without usage in any window is deleted: 30 days."""
    ledger_buffer: int = Field(default=50_000, ge=100, le=1_000_000)
    """Pods of a hub that may wait to be written while the ledger is away; past it the heartbeat stops."""
    ledger_retention: float | None = Field(default=None, ge=60)
    """Seconds after its end at which a pod is deleted from the ledger, once a day; what a policy's window or a month
    that is not frozen reaches stays. None: nothing is."""
    monitor_interval: float = Field(default=300, ge=5, le=86_400)
    """Seconds between final checks of the ledger for pods that are gone: by `hubquota monitor`, or with SQLite by the
    operator."""
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    """Port of ``GET /metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for probes. 0: none."""
    metrics_address: IPvAnyAddress = IPv4Address("127.0.0.1")
    """Address that ``metrics_port`` listens on; 0.0.0.0 or :: for every one, as a scraper in a cluster needs."""
    prometheus_url: str | None = None
    """Prometheus, or what answers like it, for `hubquota backfill`. None: there is none."""
    prometheus_username: str | None = None
    """User name of basic authentication; with ``prometheus_password_file``."""
    prometheus_password_file: Path | None = None
    """File that holds the password of ``prometheus_username``."""
    prometheus_token_file: Path | None = None
    """File that holds a bearer token, read anew for each call, for tokens change. None: no token."""
    prometheus_ca_file: Path | None = None
    """Certificates that Prometheus' own is checked with, as PEM. None: those of the usual authorities."""
    prometheus_timeout: float = Field(default=60, ge=1, le=600)
    """Seconds that one call to Prometheus may take."""
    prometheus_selector: dict[str, str] = Field(default={}, max_length=20)
    """Labels and values that tell this cluster's series from others' in the same Prometheus."""
    prometheus_names: dict[str, str] = Field(default={}, max_length=100)
    """Metrics and labels that have other names here, by kube-state-metrics' own: `namespace: exported_namespace`."""
    prometheus_resources: tuple[str, ...] = Field(default=(), max_length=100)
    """Extended resources beside the usual GPUs, whose names kube-state-metrics has made unreadable."""
    prometheus_user_labels: Literal["safe", "escape", "off"] = "safe"
    """How KubeSpawner wrote users into labels, where no annotation is there: safe since its 7.0, escape before. off:
    labels tell nothing."""
    prometheus_gap: float = Field(default=300, ge=60, le=86_400)
    """Seconds between two scrapes up to which nothing is taken to be missed; at least 2.5 scrape intervals count so."""
    hub_api_url: str | None = None
    """JupyterHub's own API, such as `http://hub.{namespace}.svc:8081/hub/api`, to know the groups of users who never
    launched; `{namespace}` is the hub's. None: hubs are not asked."""
    hub_api_urls: dict[str, str] = Field(default={}, max_length=500)
    """The API of hubs where it is elsewhere, by namespace."""
    hub_api_token_file: str | None = Field(default=None, min_length=1, max_length=1000)
    """File that holds the token of a hub's service, read anew for each call; `{namespace}` is the hub's. It needs the
    scopes `list:users` and `read:users:groups`, and no more."""
    hub_api_ca_file: Path | None = None
    """Certificates that hubs' own are checked with, as PEM. None: those of the usual authorities."""
    hub_api_timeout: float = Field(default=10, ge=1, le=60)
    """Seconds that one call to a hub may take."""
    hub_api_interval: float = Field(default=300, ge=1, le=86_400)
    """Seconds between two readings of a hub's users."""
    log_format: Literal["text", "json"] = "text"
    """How a line of the log is written."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe line that is written."""

    @field_validator("hub_namespaces")
    @classmethod
    def _no_namespace_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names a namespace twice: write each once")
        return names

    @field_validator("node_labels")
    @classmethod
    def _keys_of_labels(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [key for key in keys if not re.fullmatch(_LABEL, key)]:
            raise ValueError(f"{wrong[0]!r} is no key of a label: write one such as topology.kubernetes.io/zone")
        return keys

    @model_validator(mode="after")
    def _hubs_named_or_selected(self) -> Self:
        if self.hub_namespaces and self.hub_selector is not None:
            raise ValueError("write hub_namespaces or hub_selector, not both")
        return self

    @model_validator(mode="after")
    def _lease_times_in_order(self) -> Self:
        if not self.writer_retry_period < self.writer_renew_deadline < self.writer_lease_duration:
            raise ValueError(
                "write writer_retry_period < writer_renew_deadline < writer_lease_duration, such as 2, 7, 10"
            )
        return self

    @field_validator("prometheus_url")
    @classmethod
    def _only_where(cls, url: str | None) -> str | None:
        if url is None:
            return None
        return _address(
            url, "https://prometheus.example:9090", "prometheus_username and prometheus_password_file instead"
        )

    @field_validator("hub_api_url")
    @classmethod
    def _api_of_hubs(cls, url: str | None) -> str | None:
        return None if url is None else _hub_api(url)

    @field_validator("hub_api_urls")
    @classmethod
    def _api_of_each_hub(cls, urls: dict[str, str]) -> dict[str, str]:
        if wrong := [name for name in urls if not re.fullmatch(DNS_LABEL, name)]:
            raise ValueError(f"{wrong[0]!r} is no namespace: write `namespace: address`")
        return {name: _hub_api(url) for name, url in urls.items()}

    @model_validator(mode="after")
    def _a_token_for_hubs(self) -> Self:
        if (self.hub_api_url is not None or bool(self.hub_api_urls)) != (self.hub_api_token_file is not None):
            raise ValueError("write hub_api_token_file and one of hub_api_url and hub_api_urls, or none of them")
        return self

    @field_validator("prometheus_selector", "prometheus_names")
    @classmethod
    def _names_of_prometheus(cls, names: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        told = names.keys() if info.field_name == "prometheus_selector" else {*names, *names.values()}
        if wrong := sorted(name for name in told if not re.fullmatch(_METRIC, name)):
            raise ValueError(f"{wrong[0]!r} is no name in Prometheus: write letters, digits and _")
        return names

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.prometheus_username is None) != (self.prometheus_password_file is None):
            raise ValueError("write both of prometheus_username and prometheus_password_file, or none")
        if self.prometheus_username is not None and self.prometheus_token_file is not None:
            raise ValueError("write prometheus_token_file or prometheus_username, not both")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over files: a deployment's last word."""
        return env_settings, init_settings

    def database(self) -> str:
        """The ledger's URL, with URL and password from the files where these are named. Raises SettingsError."""
        url = self.database_url.get_secret_value()
        if self.database_url_file is not None:
            url = _secret("database_url_file", self.database_url_file)
        if self.database_password_file is None:
            return url
        return _with_password(url, _secret("database_password_file", self.database_password_file))

    def hub_api(self, namespace: str) -> tuple[str, Path] | None:
        """Where a hub's API is, and the file with its token; None: this hub is not asked."""
        url = self.hub_api_urls.get(namespace, self.hub_api_url)
        if url is None or self.hub_api_token_file is None:
            return None
        return url.replace(_NAMESPACE, namespace), Path(self.hub_api_token_file.replace(_NAMESPACE, namespace))

    def printed(self) -> dict[str, Any]:
        """All settings as they may be shown: secrets as asterisks."""
        return self.model_dump(mode="json")


def load(files: Sequence[Path] = ()) -> Settings:
    """The settings of ``files`` (YAML; later wins) and the environment. Raises SettingsError, naming all faults."""
    told: dict[str, Any] = {}
    for file in files:
        told |= _read(file)
    try:
        return Settings(**told)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
        raise SettingsError("; ".join(faults)) from None


def _address(url: str, example: str, instead: str) -> str:
    """An HTTP address to which paths can be added. Raises ValueError."""
    parts = urlsplit(url)
    whole = parts.hostname and parts.port != 0 and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or not whole:
        raise ValueError(f"is no address: write one such as {example}")
    if "@" in parts.netloc:
        raise ValueError(f"holds credentials: write {instead}")
    return url.rstrip("/")


def _hub_api(url: str) -> str:
    """The address of a hub's API; braces stand for the hub's namespace alone."""
    if set(url.replace(_NAMESPACE, "")) & set("{}"):
        raise ValueError("holds braces: {namespace} is the only word that may stand in them")
    _address(url.replace(_NAMESPACE, "namespace"), _HUB_API, "hub_api_token_file instead")
    return url.rstrip("/")


def _secret(setting: str, file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{setting}: {error.strerror}: {file}") from error


def _with_password(url: str, password: str) -> str:
    """The URL with the password of its user, whatever characters that has."""
    scheme, _, rest = url.partition("://")
    user, at, place = rest.partition("@")
    if not (at and user) or set(user) & set("/?"):
        raise SettingsError("database_password_file: database_url names no user: write postgresql://USER@HOST/DATABASE")
    if ":" in user:
        raise SettingsError("database_password_file: database_url holds a password too: write it in one place")
    return f"{scheme}://{user}:{quote(password, safe='')}@{place}"


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from error
    if not isinstance(found or {}, dict):
        raise SettingsError(f"{file}: write one `name: value` a line")
    return found or {}
