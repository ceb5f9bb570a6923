"""Java properties, the form of the checksum file.

The file of a real server starts with the comment lines and the date that ``java.util.Properties`` writes, so
its other habits apply too: blanks, ``:``, ``=``, ``#``, ``!`` and backslashes in keys are escaped, and so is
everything outside printable ASCII. Of these only the escaped blank was captured (infapy docs, 2021).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_LINE = re.compile(r"((?:\\.|[^\\=:\s])+)\s*[=:\s]\s*(.*)", re.DOTALL)
_WORDS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def dump(values: Mapping[str, str], moment: datetime) -> bytes:
    """Write values under two comment lines."""
    lines = ["#", f"#{moment:%a %b %d %H:%M:%S} UTC {moment:%Y}"]
    lines += [f"{_escape(key)}={value}" for key, value in values.items()]
    return ("\n".join(lines) + "\n").encode("latin-1")


def load(content: bytes) -> dict[str, str]:
    """Read values, comments or not.

    :raises ValueError: for a line that is none of both.
    """
    values: dict[str, str] = {}
    for line in content.decode("latin-1").splitlines():
        line = line.lstrip()
        if not line or line[0] in "#!":
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {line!r} is no key and value")
        values[_unescape(match[1])] = _unescape(match[2]).strip()
    return values


def _escape(key: str) -> str:
    return "".join(_escape_one(char) for char in key)


def _escape_one(char: str) -> str:
    if char in " \\:=#!":
        return "\\" + char
    if " " < char <= "~":
        return char
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02X}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        word = match[1]
        return chr(int(word[1:], 16)) if len(word) == 5 else _WORDS.get(word, word)

    # Escapes are UTF-16 units; two of them may make one character.
    return _ESCAPE.sub(plain, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
