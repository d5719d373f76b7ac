"""A text of any length as passages that a model reads whole: they end at sentence ends, and overlap by one sentence.

A sentence that is too long by itself is halved, at the last space before its middle or, without one, in the middle,
until its parts fit. No passage has more than 64 characters for each token that fits: text of which a tokenizer makes
nothing would grow without end. The server plugin cuts equally (`documents/Cutter.java`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from crosslens.errors import TextError
from crosslens.ingest.model.sentences import sentences

MOST_PASSAGES = 5_000
"""A document's passages at most: half as many as an index's nested objects may be by default."""
Counts = Callable[[Sequence[str]], Sequence[int]]
# No common vocabulary has longer entries; what is longer for each token is halved before it is counted.
_CHARACTERS_A_TOKEN = 64
# So much is counted at once, whatever the text: a tokenizer takes hundreds of bytes for each character.
_COUNTED = 256
_CHARACTERS_COUNTED = 1 << 16


@dataclass(frozen=True)
class Passage:
    """Where a passage stands in its text, in characters (code points); ``end`` is exclusive."""

    start: int
    end: int


def passages(text: str, counts: Counts, most: int) -> list[Passage]:
    """Return the passages of ``text``, each of at most ``most`` tokens by ``counts`` (how many each text has).

    Raises `TextError` for more than `MOST_PASSAGES`.
    """
    found: list[Passage] = []
    for each in _packed(text, counts, most):
        if len(found) == MOST_PASSAGES:
            raise TextError(f"the text makes more than {MOST_PASSAGES} passages", hint="split the document")
        found.append(each)
    return found


def _packed(text: str, counts: Counts, most: int) -> Iterator[Passage]:
    """Yield passages, each of as many sentences as fit. A passage begins with the last sentence of the one before,
    where that leaves room for the next one."""
    held: list[Passage] = []
    total = last = 0
    longest = _longest(most)
    for part, tokens in _parts(text, counts, most):
        if held and (total + tokens > most or part.end - held[0].start > longest):
            yield from _fitting(text, held, counts, most)
            overlaps = len(held) > 1 and last + tokens <= most and part.end - held[-1].start <= longest
            held, total = ([held[-1]], last) if overlaps else ([], 0)
        held.append(part)
        total, last = total + tokens, tokens
    if held:
        yield from _fitting(text, held, counts, most)


def _fitting(text: str, parts: Sequence[Passage], counts: Counts, most: int) -> Iterator[Passage]:
    """Yield ``parts`` as one passage or, where together they have more tokens than apart, as several."""
    whole = Passage(parts[0].start, parts[-1].end)
    if len(parts) == 1 or counts([text[whole.start : whole.end]])[0] <= most:
        yield whole
        return
    yield from _fitting(text, parts[: len(parts) // 2], counts, most)
    yield from _fitting(text, parts[len(parts) // 2 :], counts, most)


def _parts(text: str, counts: Counts, most: int) -> Iterator[tuple[Passage, int]]:
    """Yield each sentence, or parts of one that is too long, with its tokens."""
    short = (part for start, end in sentences(text) for part in _halved(text, start, end, _longest(most)))
    for batch in _batches(short):
        for each, tokens in zip(batch, counts([text[each.start : each.end] for each in batch]), strict=True):
            yield from _cut(text, each, tokens, counts, most)


def _longest(most: int) -> int:
    """Return the characters of the longest text that is counted, for passages of ``most`` tokens."""
    return _CHARACTERS_A_TOKEN * max(most, 1)


def _batches(parts: Iterable[Passage]) -> Iterator[list[Passage]]:
    """Yield parts to count together: several, up to a limit, or one."""
    batch: list[Passage] = []
    characters = 0
    for part in parts:
        batch.append(part)
        characters += part.end - part.start
        if len(batch) == _COUNTED or characters >= _CHARACTERS_COUNTED:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _cut(text: str, part: Passage, tokens: int, counts: Counts, most: int) -> Iterable[tuple[Passage, int]]:
    if tokens <= most or part.end - part.start < 2:
        yield part, tokens
        return
    halves = _halves(text, part.start, part.end)
    for half, count in zip(halves, counts([text[each.start : each.end] for each in halves]), strict=True):
        yield from _cut(text, half, count, counts, most)


def _halved(text: str, start: int, end: int, longest: int) -> Iterator[Passage]:
    if end - start <= longest or end - start < 2:
        yield Passage(start, end)
        return
    for half in _halves(text, start, end):
        yield from _halved(text, half.start, half.end, longest)


def _halves(text: str, start: int, end: int) -> list[Passage]:
    """Return both halves, without the white space between them."""
    middle = (start + end) // 2
    space = next((at for at in range(middle, start, -1) if text[at].isspace()), middle)
    left, right = text[start:space], text[space:end]
    return [
        Passage(start, start + len(left.rstrip())),
        Passage(end - len(right.lstrip()), end),
    ]
