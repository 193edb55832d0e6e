"""How long tests wait for what comes sooner or later."""

from typing import Final

#: Seconds. Whoever waits looks again and again, so only what fails takes so long; a crowded machine is slow, not wrong.
PATIENCE: Final = 180.0
