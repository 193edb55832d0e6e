"""The operator as it is shipped, but for its clock, which stands still at an instant (microseconds since 1970).

Run it as ``python -m tests.scenarios.operator_at INSTANT``, with settings in the environment.
"""

import asyncio
import logging
import sys

from hubquota.cluster.serving import run
from hubquota.settings import load

if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel("WARNING")
    instant = int(sys.argv[1])
    asyncio.run(run(load(), lambda: instant))
