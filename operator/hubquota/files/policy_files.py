"""QuotaPolicies as an admin keeps them: YAML files, several documents in each if they like."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from hubquota.domain.policy import Policy
from hubquota.resources.policy import PolicySpec, to_policy
from hubquota.resources.wording import faults

_KIND: Final = "QuotaPolicy"


class PolicyFileError(Exception):
    """A file cannot be read as policies; the message names file, policy and what to write."""


def read(place: Path) -> list[Policy]:
    """The QuotaPolicies of a file, or of all YAML files below a folder, by name; other kinds are passed over.

    Raises PolicyFileError, naming all faults.
    """
    files = sorted([*place.rglob("*.yaml"), *place.rglob("*.yml")]) if place.is_dir() else [place]
    found: dict[str, Policy] = {}
    wrong: list[str] = []
    for file in files:
        for name, spec in _documents(file):
            if name in found:
                wrong.append(f"{file}: {name}: there are two of this name: rename one")
            try:
                found[name] = to_policy(name, PolicySpec.model_validate(spec))
            except ValidationError as error:
                wrong.append(f"{file}: {name}: {faults(error)}")
    if wrong:
        raise PolicyFileError("; ".join(wrong))
    if not found:
        raise PolicyFileError(f"{place} holds no {_KIND}: name a folder or file with some")
    return [found[name] for name in sorted(found)]


def _documents(file: Path) -> Iterator[tuple[str, Any]]:
    """Name and spec of each policy of a file, also of those in a List."""
    try:
        documents = [d for d in yaml.safe_load_all(file.read_text(encoding="utf-8")) if isinstance(d, Mapping)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise PolicyFileError(f"{file} cannot be read: {fault}") from fault
    for document in [item for d in documents for item in (d.get("items") or [d])]:
        if isinstance(document, Mapping) and document.get("kind") == _KIND:
            yield str((document.get("metadata") or {}).get("name", "")), document.get("spec") or {}
