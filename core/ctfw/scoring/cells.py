"""Words in cells of CSV files that a spreadsheet must not take for a formula.

A cell that begins with = + - @, a tab or a carriage return is a formula to Excel and others, and
case ids and reports come from outside. Such a cell gets an apostrophe in front, as OWASP advises
(https://owasp.org/www-community/attacks/CSV_Injection); `unguarded` takes it off again.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def guarded(text: str) -> str:
    """The words as a cell, so that `unguarded(guarded(text)) == text` for every text."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The words of a cell that `guarded` made; other cells stay what they are."""
    return cell[1:] if _GUARDED.match(cell) else cell
