"""Texts of others as they may be shown: in a status, in a log, on a terminal."""

from pydantic import ValidationError


def printable(text: str) -> str:
    """The text with what cannot be printed shown as its code: no name starts a line, colours or turns round another."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def faults(error: ValidationError) -> str:
    """What is wrong with an object, and what to write instead, as one line."""
    found = (
        f"{'.'.join(map(str, fault['loc'])) or 'spec'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )
    return printable("; ".join(found))
