"""The name of a user's UserQuota: one function, the same in operator, hook and dashboard."""

import hashlib
import re
from typing import Final

#: A plain name stays as it is; "--" never occurs in one, so that no plain name equals a hashed one.
_PLAIN: Final = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){0,51}[a-z0-9]|[a-z]")
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_SLUG_LENGTH: Final = 40
_HASH_DIGITS: Final = 12


def user_quota_name(user: str) -> str:
    """The name of the UserQuota of the hub's user ``user``: a DNS label of at most 54 characters.

    The user's name itself where that is a DNS label of at most 53 characters that begins with a letter and has no
    ``--``; else what is left of it in such characters, ``--``, and 12 hexadecimal digits of its SHA-256.
    """
    if _PLAIN.fullmatch(user):
        return user
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    slug = _OTHER.sub("-", user.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return f"u-{slug}--{digest}" if slug[:1].isdigit() else f"{slug or 'u'}--{digest}"
