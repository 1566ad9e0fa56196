"""Check the text of a model's TorchScript: what Python and PyTorch would read differently.

The code is checked as Python's parser understands it, and PyTorch's parser is another one:
it ends lines, comments and texts elsewhere. So only what PyTorch itself writes is allowed.
"""

from __future__ import annotations

import io
import re
import tokenize

_CHARACTERS = re.compile(r"[^\n -~]")
_TEXT = re.compile(r"'[^'\\\n]*(\\.[^'\\\n]*)*'" + "|" + r'"[^"\\\n]*(\\.[^"\\\n]*)*"')
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")


def check_text(text: str, where: str) -> None:
    """Refuse characters, comments, numbers and texts that PyTorch does not write.

    Parameters
    ----------
    text : str
        A file of the code.
    where : str
        Its name, for messages.

    Raises
    ------
    ValueError
        If there is one; the message says which.
    SyntaxError, TokenError
        If it is no code.
    """
    odd = _CHARACTERS.search(text)
    if odd is not None:
        raise ValueError(f"its code has the character {odd[0]!r} ({where})")
    if "\\\n" in text:
        raise ValueError(f"its code has lines that go on ({where})")
    before = None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind, word = token.type, token.string
        if kind == tokenize.COMMENT or word == ";":
            raise ValueError(f"its code has a comment or a semicolon ({where})")
        is_text = kind == tokenize.STRING
        if is_text and (not _TEXT.fullmatch(word) or before == tokenize.STRING):
            raise ValueError(f"its code has an odd text {word[:20]!r} ({where})")
        if kind == tokenize.NUMBER and not _NUMBER.fullmatch(word):
            raise ValueError(f"its code has an odd number {word[:20]!r} ({where})")
        before = kind
