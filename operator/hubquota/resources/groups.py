"""Which of a user's groups a UserQuota tells: one function, the same in operator and hook."""

import json
from collections.abc import Collection, Iterable
from typing import Final

MOST: Final = 256
_LONGEST_NAME: Final = 255
#: A pod's annotations may take 256 KiB together; as many bytes of JSON as the groups may take of it.
_BYTES: Final = 160 * 1024


def kept_groups(names: Iterable[str], named: Collection[str]) -> tuple[str, ...]:
    """The groups that are told, in order: at most 256, those that policies name (``named``) first.

    A name that no policy can hold is none of them.
    """
    holdable = sorted({name for name in names if 0 < len(name) <= _LONGEST_NAME and "\0" not in name})
    left, kept = _BYTES, []
    for name in sorted(holdable, key=lambda name: name not in named)[:MOST]:
        left -= len(json.dumps(name, ensure_ascii=False).encode()) + 2
        if left < 0:
            break
        kept.append(name)
    return tuple(sorted(kept))
