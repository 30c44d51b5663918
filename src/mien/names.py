"""Names of files and classes as text: on a terminal, in JSON and in the cells of tables.

A file name may be any characters but the slash and NUL: line breaks, escape sequences of terminals, characters that the
encoding of a terminal lacks, and bytes that are not valid UTF-8, which Python keeps as lone surrogates (PEP 383). None
of them may end a command, break a table or reach a terminal as a command.
"""

import codecs
import io
import json
import os
import re
import sys
from typing import Any, Final

# What a terminal would obey or what cannot be encoded: C0 and C1 control characters, line and paragraph separators, the
# controls that reorder text (Unicode Standard Annex 9, section 2), lone surrogates.
_NOT_TEXT: Final = "\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNPRINTABLE: Final = re.compile(f"[\x00-\x1f{_NOT_TEXT}]")
_NOT_IN_JSON: Final = re.compile(f"[{_NOT_TEXT}]")  # JSON itself escapes the others

# Lone surrogates, and text that looks like their escape.
_STRAY: Final = re.compile(r"[\ud800-\udfff]|\\(?=u(?:005c|d[89a-f][0-9a-f]{2}))")
_ESCAPED: Final = re.compile(r"\\u(005c|d[89a-f][0-9a-f]{2})")


def delimiter_of(header: str) -> str:
    """What separates the cells of a CSV header: spreadsheets also write semicolons and tabs."""
    return max(",;\t", key=header.count)


def printable(text: object) -> str:
    r"""The text on one line that is safe to print: control characters and stray bytes as `\x1b`, `\n` or `\udcff`.

    For people. Not reversible: a backslash stays as it is.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def to_json(value: object, *, encoding: str | None = "utf-8", **options: Any) -> str:
    r"""A value as JSON that any program can read.

    In UTF-8, letters of all scripts stay as they are. Stray bytes and characters that a terminal would obey become
    `\uXXXX`, as do all characters beyond ASCII in any other encoding. `json.loads` gives the exact value back.

    Args:
        value: What `json.dumps` accepts.
        encoding: The encoding of the file or stream that the text is written to.
        options: Further arguments of `json.dumps`.
    """
    if not encoding or codecs.lookup(encoding).name != "utf-8":
        return json.dumps(value, **options)
    text = json.dumps(value, ensure_ascii=False, **options)
    return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_cell(name: str) -> str:
    r"""The name as it is written to CSV, Parquet and pandas: exact, only bytes that are not UTF-8 become `\udcff`.

    A name that contains such an escape as text gets `\u005c` for its backslash, so that `from_cell` always gives the
    exact name back.
    """
    return _STRAY.sub(lambda found: f"\\u{ord(found[0]):04x}", name)


def from_cell(cell: str) -> str:
    """The name that `to_cell` wrote, with which the file can be opened."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), cell)


def escape_unencodable() -> None:
    """Makes standard output and error write backslash escapes for characters that their encoding lacks.

    Otherwise a Korean file name would end a command with a traceback if the output is redirected on Windows (cp1252).
    A missing standard output (`>&-`, or a program without a console) discards what is written.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (open until the process ends)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def counted(number: int, noun: str) -> str:
    """The number with the noun, for messages: 1 image, 1,200 images."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
