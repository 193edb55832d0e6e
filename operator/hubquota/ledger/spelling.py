"""How users' names are spelled in the names of pods and other objects, to find them there. Pure."""

import hashlib
import re
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Final

from hubquota.resources.names import user_quota_name

#: What KubeSpawner's older scheme leaves as it is; all else becomes ``-`` and its UTF-8 bytes in hexadecimal.
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_HASH_DIGITS: Final = 8


class Spellings:
    """Names and what they become in names of Kubernetes: by KubeSpawner's two schemes, and as a UserQuota's."""

    def __init__(self, names: Collection[str]) -> None:
        self._ends = {_end(name) for name in names}
        self._whole = {spelling for name in names for spelling in _whole(name) if spelling}

    @cached_property
    def all(self) -> tuple[str, ...]:
        """Every spelling; of those that may be cut short, the end that never is."""
        return tuple(sorted(self._whole | self._ends))

    def replaced(self, text: str, by: str) -> str:
        """The text with every spelling replaced that stands there as a word of its own."""
        return self._words.sub(by, text)

    def stands_in(self, texts: Iterable[str]) -> bool:
        """Whether any of the texts holds a spelling as a word of its own."""
        return any(self._words.search(text) for text in texts)

    @cached_property
    def _words(self) -> re.Pattern[str]:
        longest_first = sorted(self._whole, key=lambda spelling: (-len(spelling), spelling))
        either = "|".join([*(f"[a-z0-9-]*{end}" for end in sorted(self._ends)), *map(re.escape, longest_first)])
        # A word of its own: alice, in jupyter-alice--gpu and img/alice:1, but not in alicent.
        return re.compile(rf"(?<![^\W_])(?:{either})(?![^\W_])", re.IGNORECASE)


def _whole(name: str) -> tuple[str, ...]:
    slug = _OTHER.sub("-", name.lower()).strip("-")
    return name, name.lower(), _escaped(name), slug, user_quota_name(name)


def _end(name: str) -> str:
    """What a slug of KubeSpawner's newer scheme ends with; before it stands as much of the name as has room."""
    return f"---{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:_HASH_DIGITS]}"


def _escaped(name: str) -> str:
    parts = (c if c in _PLAIN else "".join(f"-{byte:02x}" for byte in c.encode("utf-8", "surrogatepass")) for c in name)
    return "".join(parts)
