"""Which state of each pod was seen last: a listing on its way may be older than what the watch told meanwhile."""

from collections.abc import Collection, Mapping, Sequence

from hubquota.cluster.observing import Sight


class Newest:
    """What was seen last of each pod of one hub, by uid and version."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}

    def told(self, sights: Sequence[Sight]) -> list[Sight]:
        """Those that are not older than what was seen of the same pod; from now on they are what was seen last."""
        return self.listed(sights, {})

    def asked(self) -> dict[str, int]:
        """What was seen when a listing is asked for."""
        return dict(self._versions)

    def listed(self, sights: Sequence[Sight], asked: Mapping[str, int]) -> list[Sight]:
        """Those of a listing of which nothing newer was told since it was ``asked`` for.

        Whatever was seen before it gives way, though its version be greater: etcd may have been restored.
        """
        return [sight for sight in sights if self._is_news(sight, asked)]

    def forget(self, uids: Collection[str]) -> None:
        """These pods are gone: nothing is told of them any more."""
        for uid in uids:
            self._versions.pop(uid, None)

    def _is_news(self, sight: Sight, asked: Mapping[str, int]) -> bool:
        uid, version = sight.pod["metadata"]["uid"], _version(sight)
        seen = self._versions.get(uid)
        if seen is not None and version < seen and asked.get(uid) != seen:
            return False
        self._versions[uid] = version
        return True


def _version(sight: Sight) -> int:
    """Of one object, the later has the greater number; 0: it has none that can be compared."""
    told = str(sight.pod["metadata"].get("resourceVersion", ""))
    return int(told) if told.isdecimal() else 0
