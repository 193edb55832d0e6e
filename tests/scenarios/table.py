"""All scenarios, by subject."""

from collections.abc import Mapping
from typing import Final

from tests.scenarios.cases.attribution import ATTRIBUTION
from tests.scenarios.cases.combining import COMBINING
from tests.scenarios.cases.edits import EDITS
from tests.scenarios.cases.ends import ENDS
from tests.scenarios.cases.launches import LAUNCHES
from tests.scenarios.cases.limits import LIMITS
from tests.scenarios.cases.pools import POOLS
from tests.scenarios.cases.resources import RESOURCES
from tests.scenarios.cases.who import WHO
from tests.scenarios.cases.windows import WINDOWS
from tests.scenarios.vocabulary import Case, Runner

SUBJECTS: Final[Mapping[str, tuple[Case, ...]]] = {
    "Windows": WINDOWS,
    "Limits": LIMITS,
    "Who": WHO,
    "Combining": COMBINING,
    "Pools": POOLS,
    "Launches": LAUNCHES,
    "Resources": RESOURCES,
    "Ends": ENDS,
    "Attribution": ATTRIBUTION,
    "Edits": EDITS,
}
CASES: Final = tuple(case for cases in SUBJECTS.values() for case in cases)


def through(runner: Runner) -> list[Case]:
    """Those that run through this."""
    return [case for case in CASES if runner in case.runs]
