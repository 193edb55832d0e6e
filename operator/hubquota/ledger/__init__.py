"""The ledger: who held what, from when to when. SQLite for one process, PostgreSQL for more."""

from hubquota.ledger.engine import missing
from hubquota.ledger.ledger import Digest, Filled, Ledger
from hubquota.ledger.rows import undigested

__all__ = ["Digest", "Filled", "Ledger", "missing", "undigested"]
