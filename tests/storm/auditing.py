"""What ``hubquota ledger verify`` finds after a storm, for it is what an admin would ask."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from hubquota.cli import main

_COMMAND = [str(Path(sys.executable).with_name("hubquota")), "ledger", "verify", "--output", "json"]


def differences(settings: Mapping[str, str]) -> list[str] | None:
    """Its differences, or why it could not look; None: this version has no such command. ``settings``: environment."""
    if "verify" not in getattr(main.commands.get("ledger"), "commands", {}):
        return None
    env = {**os.environ, **settings}
    done = subprocess.run(_COMMAND, env=env, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode not in (0, 1):
        return [f"hubquota ledger verify ended with {done.returncode}: {done.stderr}"]
    return [f"hubquota ledger verify: {json.dumps(told)}" for told in json.loads(done.stdout)["differences"]]
