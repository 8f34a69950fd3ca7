"""Takes secrets that are known out of whatever a command says, however its words were cut up."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

SHORTEST = 8
"""Characters: a word that is shorter is too common to be taken out wherever it stands."""
PUT_INSTEAD = b"[masked]"

T = TypeVar("T")


class Mask:
    """The secrets of one attempt, in all the forms in which they are looked for.

    One of a single line is also looked for as JSON, URLs and base64 have it. One of several, as a
    key, is looked for line by line: it may be printed indented, with other line ends, or in part.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.words = frozenset(form for secret in secrets for form in _forms(secret))
        self.beginnings = frozenset(
            word[:end] for word in self.words for end in range(1, len(word))
        )
        self.longest = max(map(len, self.words), default=0)

    def text(self, text: str) -> str:
        """The text without them."""
        if not self.words:
            return text
        masked = Masked(self)
        said = text.encode(errors="surrogatepass")
        return (masked.feed(said) + masked.finish()).decode(errors="surrogatepass")

    def value(self, value: T) -> T:
        """A value without them, in all the texts that it is made of; a dataclass of them too."""
        return value if not self.words else self._value(value)

    def _value(self, value: Any) -> Any:
        if type(value) is str:
            return self.text(value)
        if isinstance(value, tuple | list):
            return type(value)(map(self._value, value))
        if isinstance(value, Mapping):
            return {self._value(key): self._value(each) for key, each in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            parts = {field.name: self._value(getattr(value, field.name)) for field in fields(value)}
            return replace(value, **parts)
        return value


NOTHING = Mask()
"""No secret is known."""


class Masked:
    """A stream without the secrets: what may be the beginning of one waits for what follows it.

    found: one was taken out of it.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""
        self._hidden = 0  # of the bytes held, those that a mask stands for already
        self.found = False

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes in; those that may go out."""
        if not self._mask.words:
            return chunk
        taken = self._held + chunk
        return self._out(taken, len(taken) - self._waiting(taken))

    def finish(self) -> bytes:
        """The bytes that waited."""
        return self._out(self._held, len(self._held))

    def _out(self, taken: bytes, until: int) -> bytes:
        out, at = bytearray(), self._hidden
        for begin, end in _spans(taken, self._mask.words):
            if begin >= until:
                break
            self.found = True
            if begin >= at:
                out += taken[at:begin] + PUT_INSTEAD
            at = max(at, end)
        out += taken[at:until]
        self._held, self._hidden = taken[until:], max(0, at - until)
        return bytes(out)

    def _waiting(self, taken: bytes) -> int:
        """How many of the last bytes may be the beginning of a secret."""
        for length in range(min(self._mask.longest - 1, len(taken)), 0, -1):
            if taken[-length:] in self._mask.beginnings:
                return length
        return 0


def _spans(taken: bytes, words: Iterable[bytes]) -> list[tuple[int, int]]:
    """Where secrets stand, in order; those that overlap as one."""
    found = sorted((at, at + len(word)) for word in words for at in _places(taken, word))
    spans: list[tuple[int, int]] = []
    for begin, end in found:
        if spans and begin < spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((begin, end))
    return spans


def _places(taken: bytes, word: bytes) -> Iterator[int]:
    at = taken.find(word)
    while at >= 0:
        yield at
        at = taken.find(word, at + 1)


def _forms(secret: str) -> Iterator[bytes]:
    """As it may be written."""
    lines = {line.strip() for line in secret.splitlines()}
    lines = {line for line in lines if len(line) >= SHORTEST and not line.startswith("-----")}
    for line in lines:
        yield line.encode(errors="surrogatepass")
    if len(secret.strip().splitlines()) != 1:
        return
    for line in lines:
        plain = line.encode(errors="surrogatepass")
        yield json.dumps(line)[1:-1].encode()
        yield json.dumps(line, ensure_ascii=False)[1:-1].encode(errors="surrogatepass")
        yield quote(plain).encode()
        yield quote(plain, safe="").encode()
        yield quote_plus(plain).encode()
        yield from _base64(plain)


def _base64(plain: bytes) -> Iterator[bytes]:
    """As a part of any text in base64, of which each three bytes are four letters."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + plain)
        # Without the letters in which its neighbours have a part.
        own = encoded[(before * 8 + 5) // 6 : (before + len(plain)) * 8 // 6]
        if len(own) >= SHORTEST:
            yield own
            yield own.translate(bytes.maketrans(b"+/", b"-_"))
