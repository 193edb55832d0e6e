"""docs/scenarios.md: what holds, for admins to look up. ``python -m tests.scenarios.listing`` writes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.scenarios import aspects
from tests.scenarios.table import CASES, SUBJECTS
from tests.scenarios.vocabulary import EVERYWHERE, Case

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "scenarios.md"
_HEAD: Final = """\
# What holds: scenarios

Each line is a scenario of `tests/scenarios/` with policies, pods and what everybody should be told, reckoned by hand.
All run through the library, through `hubquota replay` and through the operator on a real API server, which must agree;
where one does not, the line says why. S1 to S29 are the sentences of the semantics, listed at the end. `make scenarios`
writes this page.
"""


def listed() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for subject, cases in SUBJECTS.items():
        yield f"## {subject}\n"
        yield from (f"- {_line(case)}" for case in cases)
        yield ""
    yield "## The semantics, and how many scenarios show each\n"
    yield "| | | |"
    yield "| --- | --- | --- |"
    for name, sentence in aspects.SEMANTICS.items():
        yield f"| {name} | {sentence} | {sum(name in case.shows for case in CASES)} |"
    yield from (f"| {name} | see {where} | |" for name, where in aspects.ELSEWHERE.items())


def _line(case: Case) -> str:
    semantics = [name for name in case.shows if name in aspects.SEMANTICS]
    shown = f" ({', '.join(semantics)})" if semantics else ""
    only = ", ".join(sorted(runner.value for runner in case.runs))
    return case.name + shown + ("" if case.runs == EVERYWHERE else f"; {only} only: {case.because}")


if __name__ == "__main__":
    DOCUMENT.write_text(listed())
