"""``make storm``: storms of a chosen size, with their results as tables; non-zero where something is wrong."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.storm import storm
from tests.storm.result import Result
from tests.storm.size import Database, Size
from tests.storm.stage import Parts
from tests.testbed.binaries import Binaries
from tests.testbed.providers import programs

DOCS: Final = Path(__file__).parents[2] / "docs" / "storms.md"
#: One ledger dies with its operator, the other without it; two operators share it.
_HUBS: Final = (Database.SQLITE, Database.POSTGRESQL, Database.POSTGRESQL)
_BEGIN, _END = "<!-- make storm writes from here -->\n", "<!-- to here -->\n"


def main() -> int:
    """Run as many storms as are asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first storm; an even one restarts the first operator in place"
    )
    parser.add_argument(
        "--hubs", type=Database, nargs="+", choices=list(Database), default=_HUBS, help="the database of each hub"
    )
    parser.add_argument("--storms", type=int, default=1)
    parser.add_argument("--kills", type=int, default=1000, help="in each storm")
    parser.add_argument("--pods", type=int, default=10_000, help="in each storm")
    parser.add_argument("--keep", type=Path, help="a new folder for all logs and the ledger")
    parser.add_argument("--docs", action="store_true", help=f"write the tables into {DOCS.name}")
    asked = parser.parse_args()
    if asked.keep is not None and asked.keep.exists():
        parser.error(f"{asked.keep} is there already: name a new folder")
    results = []
    for seed in range(asked.seed, asked.seed + asked.storms):
        results.append(_storm(Size(seed, asked.kills, asked.pods, tuple(asked.hubs)), asked.keep))
        print("\n".join(results[-1].table()), flush=True)
        if results[-1].faults:
            print(results[-1].failure(), flush=True)
    if asked.docs:
        _write(results)
    return 1 if any(result.faults for result in results) else 0


def _storm(size: Size, keep: Path | None) -> Result:
    with tempfile.TemporaryDirectory(prefix="hubquota-storm-") as made:
        folder = Path(made) if keep is None else keep / str(size.seed)
        folder.mkdir(parents=True, exist_ok=True)
        return play(size, programs(folder), folder, Progress())


def play(size: Size, binaries: Binaries, folder: Path, report: "Progress") -> Result:
    """One storm in a folder of its own. Raises NotReady where a part does not come back."""
    parts = Parts(binaries, folder, size)
    try:
        parts.start()
        return asyncio.run(storm.run(size, parts, report))
    finally:
        parts.stop()


class Progress:
    """Tells what goes on, with the seconds since it was made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f"[{time.monotonic() - self._begun:6.0f} s] {what}", file=sys.stderr, flush=True)


def _write(results: list[Result]) -> None:
    text = DOCS.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    tables = "\n\n".join("\n".join(result.table()) for result in results)
    DOCS.write_text(f"{before}{_BEGIN}\n{tables}\n\n{_END}{after}")


if __name__ == "__main__":
    sys.exit(main())
