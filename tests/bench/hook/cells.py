"""What is compared: so many launches at once, policies, users, of those who used little or much."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tests.bench.hook.limits import Limit
from tests.bench.hook.rounds import Figures, figures, times
from tests.bench.hook.workers import Round, Worker
from tests.bench.hook.world import Person, World

#: Rounds of each hook, which alternate. One more of each comes before them, in which connections are made.
ROUNDS: Final = 20
#: Of launches one at a time, light ones: so few milliseconds would not tell in 20 rounds which hook is ahead.
_SHORT_ROUNDS: Final = 100
#: From so many at once on, one hook is kept for all rounds, so that it is seen whether its memory grows: there the
#: rounds are further apart than anything is remembered.
_KEPT: Final = 300
#: How many launch before an answer is waited for when everybody does: heavy users take the peer seconds each.
_AUDITED_IN_A_ROUND: Final = 64
#: Reason of a refusal for a quota that is used up, by either hook.
_EXCEEDED: Final = "compute-quota-exceeded"


class Cell(NamedTuple):
    """One comparison. ``launches``: how many a round has, of which ``at_once`` at a time."""

    users: int
    policies: int
    heavy: bool
    at_once: int
    launches: int

    @property
    def rounds(self) -> int:
        """How many of each hook."""
        return ROUNDS if self.heavy or self.at_once > 1 else _SHORT_ROUNDS


#: One thing at a time is varied from the first (heavy users from the second, for 64 of them at once take the peer ten
#: seconds a round); then all that is least, and all that is most but for how many at once: there it would be minutes.
CELLS: Final = (
    Cell(500, 3, False, 64, 64),
    Cell(500, 3, False, 1, 10),
    Cell(500, 3, False, 300, 300),
    Cell(500, 1, False, 64, 64),
    Cell(500, 10, False, 64, 64),
    Cell(500, 3, True, 1, 5),
    Cell(50, 3, False, 64, 64),
    Cell(2000, 3, False, 64, 64),
    Cell(50, 1, False, 1, 10),
    Cell(2000, 10, True, 1, 2),
)


class Compared(NamedTuple):
    """What came of a cell. ``refused``: of how many launches (``all``).

    ``wrong``: launches that either hook decided otherwise than it should, in words. Memory in KiB: more than the
    process had before the hook, after the last round.
    """

    cell: Cell
    peer: Figures
    ours: Figures
    times: Figures
    all: int
    refused: int
    wrong: list[str]
    peer_memory: int
    our_memory: int


def compare(cell: Cell, world: World, peer: Worker, ours: Worker) -> Compared:
    """Alternate rounds of both."""
    people, limits = world.heavy() if cell.heavy else world.light(), world.limits[: cell.policies]
    played: dict[str, list[Round]] = {"peer": [], "ours": []}
    count, refused, wrong = 0, 0, list[str]()
    for number, who in enumerate(_turns(people, cell.launches, cell.rounds + 1)):
        launches = [person.launch for person in who]
        for name, worker in (("peer", peer), ("ours", ours)):
            one = worker.play(launches, cell.at_once, fresh=cell.at_once < _KEPT)
            wrong += [f"{name}: {fault}" for fault in faults(who, limits, one)]
            played[name] += [one] if number else []
        count += len(who)
        refused += sum(person.refused(limits) for person in who)
    theirs, mine = played["peer"], played["ours"]
    memory = (theirs[-1].memory - peer.before, mine[-1].memory - ours.before)
    return Compared(cell, figures(theirs), figures(mine), times(theirs, mine), count, refused, wrong, *memory)


def audit(world: World, limits: Sequence[Limit], *workers: Worker) -> list[str]:
    """Have everybody on whom both agree launch once by each; where one of them decides otherwise than it should."""
    found = list[str]()
    for first in range(0, len(world.people), _AUDITED_IN_A_ROUND):
        who = world.people[first : first + _AUDITED_IN_A_ROUND]
        played = (worker.play([person.launch for person in who], 4) for worker in workers)
        found += [fault for one in played for fault in faults(who, limits, one)]
    return found


def faults(who: Sequence[Person], limits: Sequence[Limit], one: Round) -> Iterator[str]:
    """Launches that were not decided as they should be."""
    if one.unanswered:
        yield f"{one.unanswered} launches could not be judged"
    for person, reason in zip(who, one.reasons, strict=True):
        if reason != (_EXCEEDED if person.refused(limits) else ""):
            over = ", ".join(limit.name for limit in limits if limit in person.over)
            yield f"{person.launch.user!r}, over {over or 'no limit'}, was {reason or 'let through'}"


def _turns(people: Sequence[Person], launches: int, rounds: int) -> Iterator[list[Person]]:
    """Who launches in each round: all in turn."""
    for number in range(rounds):
        yield [people[(number * launches + n) % len(people)] for n in range(launches)]
