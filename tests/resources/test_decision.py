"""What an Event tells of a decision is taken exactly, or set aside with the words that say what to write instead."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hubquota.domain.history import DecidingQuota, DecisionKind, DecisionRecord
from hubquota.domain.pods import micros
from hubquota.resources.decision import ANNOTATION, KINDS, MalformedDecisionError, ToldDecision, ToldQuota, decision

DOCS = Path(__file__).parents[2] / "docs" / "decisions-of-launches.md"
AT = "2026-11-24T09:00:00.123456Z"
QUOTA: dict[str, Any] = {"policy": "weekly", "resource": "memory", "limit": "40", "used": "41.5", "unit": "GiB-hours"}
TOLD: dict[str, Any] = {"id": "12345678", "at": AT, "kind": "refused", "user": "alice", "quotas": [QUOTA]}


def event(told: object, name: str = "alice", **more: object) -> dict[str, Any]:
    text = told if isinstance(told, str) else json.dumps(told)
    metadata = {"name": "e", "namespace": "hub", "uid": "u", "creationTimestamp": "2026-11-24T09:00:01Z"}
    metadata |= {"annotations": {ANNOTATION: text}}  # type: ignore[dict-item]
    return {"metadata": metadata, "involvedObject": {"kind": "UserQuota", "name": name}} | more


def documented() -> dict[str, Any]:
    [block] = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)
    found["metadata"] |= {"uid": "u", "creationTimestamp": "2026-11-24T09:00:00Z"}
    return found


def test_the_documented_event_is_taken_whole() -> None:
    read = decision(documented())
    quota = DecidingQuota(
        "weekly",
        "5f0c8c5e-8f0b-4f39-a3a0-3f8f0e1f7b52",
        "memory",
        "40",
        "41.5",
        "GiB-hours",
        micros("2026-11-26T09:00:00Z"),
    )
    assert read == DecisionRecord(
        id="0b7c1f7e-6d0a-4c55-9d1e-0d6f6c1b7a10",
        hub="jupyterhub",
        user="alice",
        server="gpu",
        kind=DecisionKind.REFUSED,
        at=micros(AT),
        request={"memory": 8 << 30, "cpu": 2000, "nvidia.com/gpu": 1000, "servers": 1000},
        quotas=(quota,),
        message="Your quota is used up: ...",
        profile="large",
        group="lab",
    )


def test_the_docs_list_every_field_and_kind_and_no_other() -> None:
    rows = re.findall(r"^\| (`.+?`) \| (?:required)? ?\| ", DOCS.read_text(), re.MULTILINE)
    listed = {name.removeprefix("quotas[].") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    fields = {f.alias for model in (ToldDecision, ToldQuota) for f in model.model_fields.values()}
    assert listed == fields
    assert {f"`{kind}`" for kind in KINDS} <= set(re.findall(r"`[a-z-]+`", DOCS.read_text()))


def test_what_a_newer_hook_says_beside_is_passed_over() -> None:
    assert decision(event(TOLD | {"node": "n", "quotas": [QUOTA | {"pool": True}]})) == decision(event(TOLD))


def test_the_least_that_a_hook_says() -> None:
    read = decision(event({name: TOLD[name] for name in ("id", "at", "kind", "user")} | {"kind": "failed-open"}))
    assert (read.kind, read.server, read.quotas, read.request) == (DecisionKind.FAILED_OPEN, "", (), {})


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        ("2026-11-24T09:00:05.9Z", "2026-11-24T09:00:05.9Z"),
        ("2026-11-24T09:00:06.1Z", "2026-11-24T09:00:01Z"),
        ("2031-01-01T00:00:00Z", "2026-11-24T09:00:01Z"),
        ("2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z"),
    ],
)
def test_a_clock_that_is_ahead_is_not_believed(at: str, kept: str) -> None:
    assert decision(event(TOLD | {"at": at})).at == micros(kept)


MALFORMED: dict[str, tuple[object, str]] = {
    "no JSON": ("{", "Invalid JSON"),
    "no object": ("[]", "valid dictionary|object"),
    "nothing": ({}, "id: Field required"),
    "a short id": (TOLD | {"id": "1"}, "id: String should match"),
    "an id of words": (TOLD | {"id": "1234 5678"}, "id: String should match"),
    "no instant": (TOLD | {"at": "yesterday"}, "at: must be an instant with a zone"),
    "no zone": (TOLD | {"at": "2026-11-24T09:00:00"}, "at: must be an instant with a zone"),
    "an unknown kind": (TOLD | {"kind": "allowed"}, "kind: is allowed: write one of refused, warned"),
    "nobody": (TOLD | {"user": ""}, "user: String should have at least 1"),
    "a long user": (TOLD | {"user": "x" * 256}, "user: String should have at most 255"),
    "NUL": (TOLD | {"server": "a\0"}, "server: holds a NUL character"),
    "half a character": (json.dumps(TOLD).replace("alice", "\\ud800"), "^Invalid JSON"),
    "a negative request": (TOLD | {"request": {"cpu": -1}}, "request.cpu: Input should be greater"),
    "an absurd request": (TOLD | {"request": {"cpu": 2**63}}, "request.cpu"),
    "a fraction": (TOLD | {"request": {"cpu": 0.5}}, "request.cpu"),
    "33 resources": (
        TOLD | {"request": {f"r/{i}": 1 for i in range(33)}},
        "request: Dictionary should have at most 32",
    ),
    "33 quotas": (TOLD | {"quotas": [QUOTA] * 33}, "quotas: Tuple should have at most 32"),
    "an amount that is none": (TOLD | {"quotas": [QUOTA | {"used": "much"}]}, "quotas.0.used: String should match"),
    "another's UserQuota": (TOLD | {"user": "bob"}, "it is not about the UserQuota of user bob, bob"),
    "large": (TOLD | {"reason": "x" * 4096, "x": "y" * 16_384}, "is larger than 16384 bytes"),
}


@pytest.mark.parametrize(("told", "words"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_cannot_be_kept_is_told(told: object, words: str) -> None:
    with pytest.raises(MalformedDecisionError, match=words) as fault:
        decision(event(told))
    assert str(fault.value).isprintable()
    assert len(str(fault.value)) <= 1100


def test_an_event_about_something_else_is_told() -> None:
    with pytest.raises(MalformedDecisionError, match="not about the UserQuota"):
        decision(event(TOLD, involvedObject={"kind": "Pod", "name": "alice"}))
    with pytest.raises(MalformedDecisionError, match="no annotation"):
        decision({"metadata": {"name": "e", "namespace": "hub"}})


def test_what_is_as_large_as_may_be_fits() -> None:
    wide = QUOTA | {"policy": "p" * 253, "uid": "u" * 36, "exhaustedUntil": AT}
    told = TOLD | {"quotas": [wide] * 32, "reason": "x" * 1024}
    assert len(decision(event(json.dumps(told, separators=(",", ":")))).quotas) == 32
