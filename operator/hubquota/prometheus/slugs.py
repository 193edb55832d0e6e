"""From a label back to the user's name, as far as it leads there.

KubeSpawner writes the name itself into an annotation; into the label ``hub.jupyter.org/username`` only what a label may
hold. Since its version 7 (``safe``) a name stands there as it is if it is a valid label of at most 63 characters
without ``--``; else a part of it with a hash, which leads back only to a user who is known. Before (``escape``) each
character that is no small ASCII letter or digit stood as its bytes in hexadecimal, each after a hyphen. What was
written in which way cannot be seen: ``alice-2d2`` is a name by the one, and means ``alice-2`` by the other.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Literal

Scheme = Literal["safe", "escape", "off"]

_LABEL: Final = re.compile(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_ESCAPED: Final = re.compile(r"(?:[a-z0-9]|(?:-[0-9a-f]{2})+)*")
_HASH: Final = 8
_LONGEST: Final = 32


class Users:
    """Users by their labels. ``known``: names to which a hash may lead."""

    def __init__(self, scheme: Scheme, known: Iterable[str]) -> None:
        self._scheme: Scheme = scheme
        self._hashed: defaultdict[str, set[str]] = defaultdict(set)
        for user in known:
            self.know(user)

    def know(self, user: str) -> None:
        """One more user to whom a hash may lead."""
        if self._scheme == "safe" and not _stands(user):
            self._hashed[_hashed(user)].add(user)

    def of(self, label: str) -> str | None:
        """Whose label this is; None: that cannot be told."""
        if self._scheme == "escape":
            return _unescaped(label)
        if self._scheme == "off" or not label:
            return None
        if _stands(label):
            return label
        found = self._hashed.get(label, set())
        return next(iter(found)) if len(found) == 1 else None


def _stands(name: str) -> bool:
    """Whether a name is its own label."""
    return "--" not in name and _LABEL.fullmatch(name) is not None


def _hashed(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-")[: _LONGEST - _HASH - 3].rstrip("-")
    if safe and not ("a" <= safe[0] <= "z"):
        safe = f"x-{safe[: _LONGEST - _HASH - 5]}"
    return f"{safe or 'x'}---{digest}"


def _unescaped(label: str) -> str | None:
    if not label or not _ESCAPED.fullmatch(label):
        return None
    parts = re.split(r"-([0-9a-f]{2})", label)
    told = b"".join(bytes.fromhex(p) if i % 2 else p.encode() for i, p in enumerate(parts))
    try:
        name = told.decode("utf-8")
    except UnicodeDecodeError:
        return None
    # Only what is written so by the scheme itself.
    return name if _escape(name) == label else None


def _escape(name: str) -> str:
    plain = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
    return "".join(c if c in plain else "".join(f"-{byte:02x}" for byte in c.encode()) for c in name)
