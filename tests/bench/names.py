"""Names of users as hubs have them, and of their pods as KubeSpawner makes them."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Final

from kubespawner.slugs import is_valid_label, multi_slug, safe_slug

#: Prefixes of each other, lookalikes, e-mail addresses, upper case, Unicode, 100 characters, what escapes trip over.
ODD: Final = (
    "alice", "alice2", "alice-2", "Alice", "ALICE", "al", "alice@uni.edu", "alice@uni.edu.au", "Alice@uni.edu",
    "student1", "student11", "student111", "student1-1", "s", "jürgen", "jurgen", "李雷", "о́льга",
    "zoë.müller@uni.edu",
    "a" * 100, "a" * 99 + "b", "a" * 60, "o'neil", "x--y", "x", "1984", "-", "bob.builder@uni.edu", "bob",
    "=cmd|' /C calc'!A0", "<b>eve</b>", "tab\there", "name with spaces", "alice ",
    "alexandria.von-hohenlohe-langenburg",
)  # fmt: skip
_GIVEN: Final = (
    "ann",
    "ben",
    "carla",
    "dev",
    "emre",
    "fay",
    "gita",
    "hugo",
    "ines",
    "jo",
    "kim",
    "lena",
    "maximiliane",
)
_FAMILY: Final = ("lee", "meier", "novak", "okafor", "patel", "quint", "rossi", "silva", "featherstonehaugh", "wang")
_SLUG: Final = 48


def users(how_many: int) -> list[str]:
    """Names of so many users, each once: the odd ones first."""
    return list(islice(_all(), how_many))


def _all() -> Iterator[str]:
    yield from ODD
    for n in count():
        given, family = _GIVEN[n % len(_GIVEN)], _FAMILY[n // len(_GIVEN) % len(_FAMILY)]
        yield f"{given}.{family}{n}@uni.edu"
        yield f"student{1000 + n}"
        yield f"{given}{n}"


def slug(user: str) -> str:
    """A user's name as KubeSpawner puts it into the names of objects."""
    return str(safe_slug(user, max_length=_SLUG))


def label(name: str) -> str:
    """A user's or server's name as KubeSpawner 7 puts it into a label."""
    return str(safe_slug(name, is_valid=is_valid_label))


def pod_name(user: str, server: str) -> str:
    """The name of a server's pod (KubeSpawner 7, ``jupyter-{user_server}``). Every pod of the server has this one."""
    mine = slug(user)
    other = str(safe_slug(server, max_length=_SLUG)) if server else ""
    if len(mine) + len(other) + 2 > _SLUG:
        return f"jupyter-{multi_slug([user, server], max_length=_SLUG)}"
    return f"jupyter-{mine}--{other}" if server else f"jupyter-{mine}"
