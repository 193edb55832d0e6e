"""Credits are priced exactly, whatever they are made of."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.measure import Measure, credits_by
from hubquota.domain.units import unit_size
from hubquota.domain.windows import HOUR

PRICES = {"cpu": "1", "memory": "0.25", "nvidia.com/gpu": "30"}


def test_a_gpu_server_costs_what_its_parts_cost() -> None:
    held = {"cpu": 4000, "memory": 16 * 2**30, "nvidia.com/gpu": 1000, "servers": 1000}
    assert credits_by(PRICES).amount(held) * HOUR == (4 + 4 + 30) * unit_size("credits")


def test_what_has_no_price_costs_nothing() -> None:
    assert credits_by(PRICES).amount({"xilinx.com/fpga": 1000}) == 0
    assert credits_by({"cpu": "0"}).resources == frozenset()


def test_prices_that_are_equal_are_one_measure_however_they_are_written() -> None:
    assert credits_by({"cpu": "1", "memory": "0.50"}) == credits_by({"memory": "0.5", "cpu": "1.0"})


@given(
    st.decimals(0, 10**6, places=9).map(str),
    st.integers(0, 2**50),
    st.integers(0, 10**9),
)
def test_no_fraction_of_a_credit_is_lost(price: str, size: int, thousandths: int) -> None:
    measure = credits_by({"memory": price, "cpu": price})
    exact = Fraction(price) * (Fraction(size, 2**30) + Fraction(thousandths, 1000))
    assert Fraction(measure.amount({"memory": size, "cpu": thousandths}) * HOUR, unit_size("credits")) == exact


def test_one_resource_counts_as_it_is() -> None:
    assert Measure("memory").amount({"memory": 7, "cpu": 5}) == 7
