"""``python -m tests.bench [accuracy] [retries] ...``: exits non-zero where something is not exact."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Final

from tests.bench import accuracy, backfilling, handing_over, operating, outage, retries, scale, starting, watching
from tests.bench.history import Hub
from tests.bench.hook import bench as hook

#: By name: what runs, and how many users it takes where nothing else is asked for.
_BENCHES: Final[dict[str, tuple[Callable[[Hub], bool], int]]] = {
    "accuracy": (accuracy.run, 2000),
    "retries": (retries.run, 500),
    "scale": (scale.run, 10_000),
    "starting": (starting.run, 10_000),
    "operating": (operating.run, 10_000),
    "handing-over": (handing_over.run, 10_000),
    "outage": (outage.run, 1_000),
    "watching": (watching.run, 1),
    "backfill": (backfilling.run, 60),
    "hook": (hook.run, 2000),
}
#: Those that are about a large hub.
_LARGE: Final = ("scale", "starting", "operating", "handing-over")
#: How often users start servers, so that 10,000 of them have a million pods in 35 days.
_BUSY_AT_SCALE: Final = 40.0


def main() -> int:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(_BENCHES)}; none: all")
    parser.add_argument("--users", type=int, help="how many; each has a number of its own")
    parser.add_argument("--days", type=int, default=35)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--busy", type=float, help="how often users start servers, 1 as a rule")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(_BENCHES):
        parser.error(f"there is no {', '.join(sorted(unknown))}: write some of {', '.join(_BENCHES)}")
    print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}")
    exact = True
    for name, (run, users) in _BENCHES.items():
        if name in asked.names or not asked.names:
            busy = asked.busy or (_BUSY_AT_SCALE if name in _LARGE else 1.0)
            exact = run(Hub(asked.users or users, asked.days, asked.seed, busy=busy)) and exact
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
