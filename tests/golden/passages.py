"""Odd texts and the passages that they make: what both sides must cut equally, to the character."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.model.passages import passages
from crosslens.ingest.model.tokens import TextTokenizer
from tests.golden import FOLDER, Line
from tests.golden.models import WORDPIECE

Pieces = list[list[str | int]]
"""A text: its pieces, each with how often it is repeated."""
_TEXTS = 1_000
# Each text is cut by one of these: a tokenizer (None: the demo's), and how many tokens fit.
_CUTS: tuple[tuple[str | None, int], ...] = ((None, 30), (WORDPIECE.name, 46), (None, 7), (WORDPIECE.name, 1))
_SCRIPTS = (
    "abcdefg", "ABCXYZ", "0123456789", "éßñøİıſ", "αβγςΣ", "абвгЖ", "אבגד", "ابتث", "कखगि", "กขคง", "中文字東京",
    "かなカナ", "한국어가", "ႠⴀაᲐ", "𝔘𝔫𝔦", "𐐨𐐀", "😀👍❤🇩", "𠀀𠀁",
)  # fmt: skip
_STOPS = (
    ". ", ".", "! ", "?", "?! ", "... ", "。", "！", "؟ ", "।", "። ", "‼ ", ".) ", ".” ", '."', "。」", ", ", "; ",
    ": ", "—", "․ ", "．", ".\u0301 ", ".\u200d ", " . ",
)  # fmt: skip
_SPACES = (
    " ", " ", " ", "  ", "\t", "\n", "\r\n", "\r", "\n\n", "\u00a0", "\u3000", "\u2028", "\u2029", "\x85", "\x1c", "",
)  # fmt: skip
_MARKS = (
    "\u0301", "\u200b", "\u200d", "\ufeff", "\u202e", "\u2060", "\ufe0f", "\U0001f3fd", "\x00", "\x07", "\x7f",
    "\u00ad",
)  # fmt: skip
_WORDS = (
    "Dr.", "e.g.", "U.S.A.", "3.14", "1,000.50", "a.m.", "example.com", "it's", "No. 5", "<|endoftext|>", "[SEP]",
    "</s>", "👩‍👩‍👧", "e\u0301", "(", ")", "«", "»", "“", "’", "\ud800", "\udc00", "ﬁ", "..", "!?", "x" * 40,
)  # fmt: skip


def _random(rng: random.Random) -> Pieces:
    """Words of all scripts with marks, stops and line breaks among them, some without spaces or ends."""
    scripts = rng.sample(_SCRIPTS, rng.randint(1, 3))
    spaces, stops = rng.choice((_SPACES, (" ",), ("",))), rng.choice((_STOPS, (". ",), ("",)))
    said = []
    for _ in range(rng.choice((1, 3, 8, 8, 20, 40))):
        said.append("".join(rng.choices(rng.choice(scripts), k=rng.randint(1, 7))))
        if rng.random() < 0.1:
            said.append(rng.choice(_MARKS))
        if rng.random() < 0.15:
            said.append(rng.choice(spaces) + rng.choice(_WORDS))
        said.append(rng.choice(stops) if rng.random() < 0.3 else rng.choice(spaces))
    return [["".join(said), rng.choice((1, 1, 1, 1, 2, 5))]]


def _chosen() -> Iterator[tuple[str, Pieces]]:
    yield "nothing", [["", 1]]
    yield "blank", [[" \t\n\u3000", 3]]
    yield "a full stop", [[".", 1]]
    yield "full stops", [[".", 500]]
    yield "one sentence of 10,000 words", [["word ", 10_000]]
    yield "a word of 10,000 letters", [["a", 10_000]]
    yield "no spaces and no ends", [["東京の写真", 1_000]]
    yield "no spaces, beyond the basic plane", [["𠀀𠀁𠀂", 700]]
    yield "emoji sequences", [["👩‍👩‍👧‍👦", 300]]
    yield "right to left", [["\u202eשלום עולם. ", 200]]
    yield "Arabic", [["مرحبا بك. كيف حالك؟ ", 100]]
    yield "Thai", [["ไม่มีจุดและยาวมาก", 200]]
    yield "abbreviations", [["Dr. Who met Mr. X at 5 p.m. in the U.S.A. on Jan. 3. ", 60]]
    yield "line breaks of all kinds", [["One\nTwo\r\nThree\rFour\u2028Five\u2029Six\x85Seven\n\n\n", 40]]
    yield "sentences of one word", [["Yes. No! ", 400]]
    yield "control characters", [["\x00\x01\x07\x1b\x7f", 400]]
    yield "nothing that a tokenizer keeps", [["\u200b", 20_000]]
    yield "nothing that it keeps, in paragraphs", [["\u200b\n", 4_000]]
    yield "spaces", [["a", 1], [" ", 20_000], ["b. ", 1], [" ", 5_000], ["C", 1]]
    yield "halves of characters", [["a\ud800 b\udc00. ", 100]]
    yield "marks on nothing", [["\u0301\u0300", 1_000]]
    yield (
        "a long sentence among short ones",
        [["Short one. ", 20], ["long words and ", 300], ["end. ", 1], ["Short two. ", 20]],
    )
    yield "as many tokens as fit", [["a ", 29], ["a. ", 1], ["b ", 30], ["b. C", 1]]


def cases() -> Iterator[tuple[str, Pieces, str | None, int]]:
    """A name, the text's pieces, the tokenizer's file (None: the demo's), and how many tokens fit."""
    for case, pieces in _chosen():
        for tokenizer, most in _CUTS[:2]:
            yield case, pieces, tokenizer, most
    rng = random.Random(16)
    for i in range(_TEXTS):
        yield f"random {i}", _random(rng), *_CUTS[i % len(_CUTS)]


def whole(pieces: Pieces) -> str:
    return "".join(str(piece) * int(times) for piece, times in pieces)


@cache
def _tokenizer(name: str | None) -> TextTokenizer:
    return TextTokenizer(DEMO_MODEL / "tokenizer.json" if name is None else FOLDER / "tokenizers" / name, 1_000)


def cut(pieces: Pieces, tokenizer: str | None, most: int) -> list[list[int]]:
    """The start and end of each passage, in code points."""
    return [[each.start, each.end] for each in passages(whole(pieces), _tokenizer(tokenizer).counts, most)]


def recorded() -> list[Line]:
    return [
        {"case": case, "text": pieces, "tokenizer": tokenizer, "most": most, "passages": cut(pieces, tokenizer, most)}
        for case, pieces, tokenizer, most in cases()
    ]
