"""An operator that is to end does, so that it is started again: also where a part of it does not listen."""

import asyncio
import subprocess
import sys

from hubquota.cluster.serving import ended
from tests.testbed.patience import PATIENCE

STUBBORN = """
import asyncio, logging
from hubquota.cli.operator import to_the_end

logging.basicConfig(format="%(message)s")

async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def work():
    kept.add(asyncio.ensure_future(stubborn()))
    await asyncio.sleep(0)
    raise ValueError("its credentials have run out")

kept = set()
to_the_end(work(), 0.2)
"""


def test_a_process_ends_though_a_task_does_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (1, "ends, though a part does not\n")


async def test_tasks_that_listen_have_ended_and_of_one_that_does_not_it_is_told() -> None:
    let_go = asyncio.Event()

    async def deaf() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    async def failing() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError

    listening, failed = asyncio.ensure_future(asyncio.sleep(3600)), asyncio.ensure_future(failing())
    other = asyncio.ensure_future(deaf())
    await asyncio.sleep(0)
    assert await ended([listening, failed], 10)
    assert not await ended([other], 0.1)
    let_go.set()
    await other
