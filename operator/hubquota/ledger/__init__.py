"""The ledger: who held what, from when to when. SQLite for one process, PostgreSQL for more."""

from hubquota.ledger.engine import missing
from hubquota.ledger.faults import LedgerAway, LedgerError, SchemaError, explained
from hubquota.ledger.fencing import Superseded
from hubquota.ledger.ledger import Digest, Filled, Ledger
from hubquota.ledger.rows import undigested

__all__ = [
    "Digest",
    "Filled",
    "Ledger",
    "LedgerAway",
    "LedgerError",
    "SchemaError",
    "Superseded",
    "explained",
    "missing",
    "undigested",
]
