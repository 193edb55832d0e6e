"""What ``hubquota ledger verify`` finds after a storm, for it is what an admin would ask."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.testbed.rest import Json

#: When all is calm nothing is under way, so that no difference is excused as young.
_COMMAND: Final = [
    str(Path(sys.executable).with_name("hubquota")),
    *("ledger", "verify", "--output", "json", "--grace", "0", "--wait", "10"),
]
_PATIENCE: Final = 300


def differences(settings: Mapping[str, str], hubs: Sequence[str]) -> list[str]:
    """All that it tells of a ledger with these hubs, or why it could not look. ``settings``: the environment."""
    env = {**os.environ, **settings}
    done = subprocess.run(_COMMAND, env=env, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode not in (0, 1):
        return [f"hubquota ledger verify ended with {done.returncode}: {done.stderr}"]
    return list(told(done.returncode, json.loads(done.stdout), hubs))


def told(code: int, found: Json, hubs: Sequence[str]) -> Iterator[str]:
    """An answer in sentences: a clean one has looked at all hubs, and has none."""
    if sorted(hubs) != sorted(found["hubs"]):
        yield f"hubquota ledger verify has not looked at {hubs}, but at {found['hubs']}"
    every = [json.dumps(one) for kind in ("differences", "young", "notMetered") for one in found[kind]]
    yield from (f"hubquota ledger verify: {one}" for one in every)
    if bool(code) != bool(every):
        yield f"hubquota ledger verify ended with {code}, and told {len(every)} differences"
