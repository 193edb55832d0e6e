"""docs/ends.md tells every way in which the ledger says that an end was learnt."""

import re

from hubquota.domain.history import HowEnded
from tests.testbed.hub import ROOT


def test_every_way_to_learn_of_an_end_is_told() -> None:
    table = (ROOT / "docs" / "ends.md").read_text().partition("An estimated end")[0]
    head, *ways = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert (head, ways) == ("how_ended", list(HowEnded))
