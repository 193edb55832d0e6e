"""Names of resources: kube-state-metrics writes ``_`` for everything in them that is no letter or digit."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

_USUAL: Final = (
    "cpu",
    "memory",
    "nvidia.com/gpu",
    "nvidia.com/gpu.shared",
    "amd.com/gpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "google.com/tpu",
    "habana.ai/gaudi",
    "aws.amazon.com/neuron",
    "aws.amazon.com/neuroncore",
    "aws.amazon.com/neurondevice",
)
_MIG: Final = re.compile(r"nvidia_com_mig_(\d+g)_(\d+gb)(?:_(me))?", re.ASCII)
#: What no quota counts.
_PASSED_OVER: Final = re.compile(r"storage|ephemeral_storage|hugepages_.*|attachable_volumes_.*")


class Resources:
    """Resources by what kube-state-metrics calls them. ``more``: names beside the usual ones."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        for name in (*_USUAL, *more):
            self._names[re.sub(r"[^a-zA-Z0-9_]", "_", name)].add(name)
        self.unknown: set[str] = set()
        """What pods asked for and nobody can name: it is not counted."""

    def name(self, told: str) -> str | None:
        """The resource's own name; None: it is not counted, or none or several are written like that."""
        names = self._names.get(told, set())
        if len(names) == 1:
            return next(iter(names))
        if match := _MIG.fullmatch(told):
            return f"nvidia.com/mig-{'.'.join(part for part in match.groups() if part)}"
        if not _PASSED_OVER.fullmatch(told):
            self.unknown.add(told)
        return None
