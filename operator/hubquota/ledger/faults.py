"""Why a ledger cannot be used, in one line that says what to check. No password is in any of them."""

import re
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

#: What the driver's own words look like, and what to check then. The first that fits.
_CHECKS: Final = (
    ("password authentication failed", "check the user in database_url and the password in database_password_file"),
    ("no password supplied", "name the file of the password in database_password_file"),
    ("pg_hba.conf", "the server lets this user in from elsewhere or by TLS only: check sslmode, and its pg_hba.conf"),
    ('role ".*" (does not exist|is not)', "check the user in database_url: the server knows none that may log in"),
    ('database ".*" does not exist', "check the database's name in database_url, or make it: CREATE DATABASE ..."),
    ("root certificate file", "sslrootcert in database_url names no file that can be read"),
    ("certificate verify failed", "the server's certificate is not signed by the CA in the file of sslrootcert"),
    ("does not match host name", "write the name that the server's certificate has as the host of database_url"),
    ("ssl", "check sslmode in database_url, and that the server speaks TLS"),
    ("permission denied", "grant this role what docs/ledger.md lists, or run hubquota ledger upgrade as the owner"),
)
_UNREACHABLE: Final = "check host and port in database_url, and that the database runs and can be reached from here"


class LedgerError(SQLAlchemyError):
    """The ledger cannot be used; the message is one line that says what to check."""


class LedgerAway(LedgerError):
    """It cannot be used now: nothing says that it is not well set up."""


class SchemaError(LedgerError):
    """The ledger's schema is not the one that this version works on."""


def explained(fault: SQLAlchemyError) -> LedgerError:
    """The same in one line."""
    if isinstance(fault, LedgerError):
        return fault
    told = " ".join(str(fault.orig if isinstance(fault, DBAPIError) else fault).split())
    check = next((check for words, check in _CHECKS if re.search(words, told, re.IGNORECASE)), None)
    kind = LedgerAway if check is None else LedgerError
    return kind(f"the ledger cannot be used: {told[:500]}: {check or _UNREACHABLE}")
