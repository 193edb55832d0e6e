"""What a quota counts of what a pod holds: one resource, or a weighted sum of several (credits)."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

#: Weights have at most nine decimals (the CRD says so), so they are whole in these.
WEIGHT_SCALE: Final = 10**9
#: One credit in base units: a multiple of 2^30 (bytes in a GiB) and of 1000 (thousandths of the rest).
CREDIT: Final = 2**30 * 125 * WEIGHT_SCALE
_OF_A_BYTE: Final = CREDIT // (2**30 * WEIGHT_SCALE)
_OF_A_THOUSANDTH: Final = CREDIT // (1000 * WEIGHT_SCALE)

CREDITS: Final = "credits"
MEMORY: Final = "memory"
SERVERS: Final = "servers"
STORAGE: Final = "storage"


@dataclass(frozen=True, slots=True)
class Measure:
    """``resource`` as the policy names it. ``weights``: for credits, base units of a credit for each base unit held."""

    resource: str
    weights: tuple[tuple[str, int], ...] = ()

    def amount(self, allocation: Mapping[str, int]) -> int:
        """Base units that an allocation (base units by resource) counts for."""
        if self.resource != CREDITS:
            return allocation.get(self.resource, 0)
        return sum(factor * allocation.get(resource, 0) for resource, factor in self.weights)

    @property
    def resources(self) -> frozenset[str]:
        """The resources that count."""
        if self.resource != CREDITS:
            return frozenset({self.resource})
        return frozenset(resource for resource, factor in self.weights if factor)


def credits_by(per_hour: Mapping[str, str]) -> Measure:
    """Credits with these prices for an hour of a GiB, CPU, device or server: decimal strings by resource."""
    return Measure(CREDITS, tuple(sorted((r, _factor(r, price)) for r, price in per_hour.items())))


def prices(measure: Measure) -> dict[str, Fraction]:
    """Credits for an hour of each resource: the inverse of ``credits_by``."""
    return {
        resource: Fraction(factor, WEIGHT_SCALE * (_OF_A_BYTE if resource == MEMORY else _OF_A_THOUSANDTH))
        for resource, factor in measure.weights
    }


def _factor(resource: str, price: str) -> int:
    exact = Fraction(price) * WEIGHT_SCALE * (_OF_A_BYTE if resource == MEMORY else _OF_A_THOUSANDTH)
    return -(-exact.numerator // exact.denominator)
