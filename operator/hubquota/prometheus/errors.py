"""What can go wrong between us and Prometheus; each message says what to do about it.

PrometheusError: nothing was read; asking again is of no use before something was changed, or has come back.
└── TooMuch: the answer would be too large, or take too long; asking for a shorter time may do.
"""


class PrometheusError(Exception):
    """Prometheus cannot be asked, or its answer cannot be used."""


class TooMuch(PrometheusError):
    """One question asked for more than Prometheus, or we, take at once."""
