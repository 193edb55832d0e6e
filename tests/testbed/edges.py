"""What happened to pods, written down before anybody else is told: the truth that tests compare with.

A log is only appended to, each line in one write, so whoever writes it can be killed at any time and goes on from it:
an edge that is in it is not noted anew, and its instant stays what it was.
"""

import calendar
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.testbed.rest import Json


class EdgeLog:
    """One writer's log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted: dict[tuple[str, str, int], str] = {}
        self._told: set[tuple[str, str, int]] = set()
        self._pods: dict[str, str] = {}
        for line in lines(path):
            key = _key(line)
            self._pods[line["uid"]] = line["pod"]
            if "told" in line:
                self._told.add(key)
            else:
                self._noted[key] = line["at"]

    def note(self, pod: Json, event: str, number: int = 0, **more: object) -> str:
        """Write an edge down, and only then return the instant that may be told: the first one, if it is known."""
        meta = pod["metadata"]
        known = self.noted(meta["uid"], event, number)
        if known is not None:
            return known
        at = now()
        self._noted[meta["uid"], event, number] = at
        self._pods[meta["uid"]] = meta["name"]
        self._write({"at": at, "event": event, "uid": meta["uid"], "pod": meta["name"]}, number, more)
        return at

    def told(self, pod: Json, event: str, number: int = 0) -> None:
        """Write down that the API server has taken an edge."""
        meta = pod["metadata"]
        key = (meta["uid"], event, number)
        if key in self._noted and key not in self._told:
            self._told.add(key)
            self._write({"at": now(), "told": event, "uid": meta["uid"], "pod": meta["name"]}, number, {})

    def noted(self, uid: str, event: str, number: int = 0) -> str | None:
        """When an edge was; None: it was not."""
        return self._noted.get((uid, event, number))

    def left(self) -> dict[str, str]:
        """Names by the uids of all pods that are not known to be deleted."""
        return {uid: name for uid, name in self._pods.items() if (uid, "deleted", 0) not in self._noted}

    def _write(self, line: Json, number: int, more: Json) -> None:
        told = line | ({"number": number} if number else {}) | more | {"time": time.time()}
        with self._path.open("a") as file:
            file.write(json.dumps(told) + "\n")


def lines(path: Path) -> Iterator[Json]:
    """All lines of a log: edges (``event``), and that they were told (``told``). ``time``: seconds since 1970."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)


def truth(path: Path) -> list[Json]:
    """The edges of a log."""
    return [line for line in lines(path) if "event" in line]


def now() -> str:
    """Now, as the API server keeps times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def since(at: str) -> float:
    """Seconds since an instant as the API server keeps it."""
    return time.time() - calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ"))


def _key(line: Json) -> tuple[str, str, int]:
    return line["uid"], line.get("told") or line["event"], line.get("number", 0)


def of_pods(entries: Iterable[Json]) -> dict[str, list[Json]]:
    """Lines by the uid of their pod."""
    found: dict[str, list[Json]] = {}
    for line in entries:
        found.setdefault(line["uid"], []).append(line)
    return found
