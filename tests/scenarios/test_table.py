"""The table is complete, and admins can look it up."""

from collections import Counter
from collections.abc import Collection

from tests.scenarios import aspects
from tests.scenarios.listing import DOCUMENT, listed
from tests.scenarios.table import CASES, through
from tests.scenarios.vocabulary import EVERYWHERE, Runner


def test_there_are_scenarios_enough_each_of_a_name_of_its_own() -> None:
    assert len(CASES) >= 80
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def test_every_sentence_of_the_semantics_has_a_scenario() -> None:
    numbered = {f"S{number}" for number in range(1, 30)}
    assert aspects.SEMANTICS.keys() | aspects.ELSEWHERE.keys() == numbered
    assert _unshown(aspects.SEMANTICS) == []


def test_everything_that_the_engine_should_be_able_to_do_has_a_scenario() -> None:
    assert {name.split()[0] for name in aspects.ABILITIES} == set("12345678")
    assert _unshown(aspects.ABILITIES) == []


def test_every_scenario_expects_something_and_shows_something_that_is_known() -> None:
    for case in CASES:
        assert case.shows, case.name
        assert set(case.shows) <= aspects.ALL.keys(), case.name
        for phase in case.phases:
            assert phase.users or phase.pools or phase.told, case.name


def test_few_scenarios_run_through_less_than_all_and_they_say_why() -> None:
    partial = [case for case in CASES if case.runs != EVERYWHERE]
    assert all(case.because for case in partial)
    assert len(partial) <= 5
    assert len(through(Runner.LIBRARY)) == len(CASES)


def test_the_document_lists_the_table() -> None:
    assert DOCUMENT.read_text() == listed(), "write it again: make scenarios"


def _unshown(wanted: Collection[str]) -> list[str]:
    shown = {name for case in CASES for name in case.shows}
    return [name for name in wanted if name not in shown]
