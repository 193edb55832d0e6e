"""When Python looks for cycles of objects that nobody else holds: not while there is much to take in."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def taking_in_much() -> Iterator[None]:
    """While a history is read, no search: of what is read nothing is garbage, and looking takes half of the time.

    What is there afterwards stays, so later searches, each of which holds the loop up, pass it over.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
