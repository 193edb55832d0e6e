"""The ledger: who held what, from when to when. SQLite for one process, PostgreSQL for more."""

from hubquota.ledger.ledger import Ledger

__all__ = ["Ledger"]
