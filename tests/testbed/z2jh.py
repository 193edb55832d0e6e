"""Our hook in a hub as z2jh's Helm chart puts it there, by the manifests' values and the command that stands in them.

What the chart does with them: ``hub.extraFiles`` are mounted at their ``mountPath``; its jupyterhub_config.py imports
from its own folder, gives each class what ``hub.config`` has for it, and runs ``hub.extraConfig`` in the order of the
keys.
"""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from tests.testbed.manifests import MANIFESTS

VALUES: Final = MANIFESTS / "z2jh-values.yaml"
#: Where the chart's jupyterhub_config.py is.
_CONFIG_FOLDER: Final = "usr/local/etc/jupyterhub"

Json = dict[str, Any]


def values() -> Json:
    """The values as Helm has them, with the files that its command line sets."""
    text = VALUES.read_text()
    found: Json = yaml.safe_load(text)
    for key, file in re.findall(r"--set-file (\S+)=(\S+)", text):
        *parents, last = key.split(".")
        level = found
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = (MANIFESTS.parent / file).read_text()
    return found


def hooked(root: Path, **traits: object) -> str:
    """Mount the files below ``root`` and return the lines of configuration. ``traits``: more for c.HubQuota."""
    hub = values()["hub"]
    for file in hub["extraFiles"].values():
        mounted = root / file["mountPath"].lstrip("/")
        mounted.parent.mkdir(parents=True, exist_ok=True)
        mounted.write_text(file["stringData"])
    config = hub["config"] | {"HubQuota": hub["config"]["HubQuota"] | traits}
    lines = [
        f"import sys; sys.path.insert(0, {str(root / _CONFIG_FOLDER)!r})",
        f"for app, cfg in {config!r}.items(): c[app].update(cfg)",
    ]
    return "\n".join([*lines, *(text for _, text in sorted(hub["extraConfig"].items()))])
