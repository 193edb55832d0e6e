"""How a user's name is spelled in the names of pods and other objects, to find it there. Pure."""

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from hubquota.resources.names import user_quota_name

#: What KubeSpawner's older scheme leaves as it is; all else becomes ``-`` and its UTF-8 bytes in hexadecimal.
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_HASH_DIGITS: Final = 8


class Spellings:
    """A name and what it becomes in names of Kubernetes: by KubeSpawner's two schemes, and as a UserQuota's."""

    def __init__(self, user: str) -> None:
        self.user = user

    @cached_property
    def all(self) -> tuple[str, ...]:
        """Every spelling once, longer ones first; of the one that may be cut short, the end that never is."""
        slug = _OTHER.sub("-", self.user.lower()).strip("-")
        made = {self.user, self.user.lower(), _escaped(self.user), slug, user_quota_name(self.user), self._end}
        return tuple(sorted((m for m in made if m), key=lambda m: (-len(m), m)))

    def replaced(self, text: str, by: str) -> str:
        """The text with every spelling replaced that stands there as a word of its own."""
        return self._words.sub(by, text)

    def stands_in(self, texts: Iterable[str]) -> bool:
        """Whether any of the texts holds a spelling as a word of its own."""
        return any(self._words.search(text) for text in texts)

    @cached_property
    def _end(self) -> str:
        """What a slug of KubeSpawner's newer scheme ends with; before it stands as much of the name as has room."""
        digest = hashlib.sha256(self.user.encode("utf-8", "surrogatepass")).hexdigest()
        return f"---{digest[:_HASH_DIGITS]}"

    @cached_property
    def _words(self) -> re.Pattern[str]:
        whole = (re.escape(spelling) for spelling in self.all if spelling != self._end)
        either = "|".join((f"[a-z0-9-]*{self._end}", *whole))
        # A word of its own: alice, in jupyter-alice--gpu and img/alice:1, but not in alicent.
        return re.compile(rf"(?<![^\W_])(?:{either})(?![^\W_])", re.IGNORECASE)


def _escaped(name: str) -> str:
    parts = (c if c in _PLAIN else "".join(f"-{byte:02x}" for byte in c.encode("utf-8", "surrogatepass")) for c in name)
    return "".join(parts)
