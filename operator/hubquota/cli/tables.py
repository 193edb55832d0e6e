"""Text for a terminal: columns that line up, and no name that could touch the terminal itself."""

from collections.abc import Iterable, Sequence

from hubquota.resources.wording import printable


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Rows below heads, each column as wide as its widest cell. A line without rows."""
    cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(f"{indent}{line}" for line in lines)
