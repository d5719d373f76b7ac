"""Texts to token ids. A text is only ever text: the words that a tokenizer keeps for itself mean nothing in it."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from crosslens.errors import ModelError

# Two noncharacters, which no text contains.
_RESERVED = "\ufffe\uffff"
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SURROGATE = re.compile("[\ud800-\udfff]")


class TextTokenizer:
    """A folder's tokenizer.json, cutting texts to as many tokens as the model reads; its ids equal the server plugin's.

    ``canonical`` takes punctuation out and makes all lower case first.
    """

    def __init__(self, path: Path, length: int, *, canonical: bool = False):
        """Raises `ModelError` when the file isn't a tokenizer."""
        self._canonical = canonical
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            self._tokenizer = Tokenizer.from_str(json.dumps(_as_text(settings), ensure_ascii=False))
        except Exception as error:
            raise ModelError(f"{path} can't be read as a tokenizer ({error})") from error
        # Padding is done by batch, and always to int64 rows; the file's own settings would pad every text.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids, with the special tokens that the tokenizer adds."""
        read = [well_formed(text) for text in texts]
        if self._canonical:
            read = [" ".join(text.split()).translate(_NO_PUNCTUATION).lower() for text in read]
        return [each.ids for each in self._tokenizer.encode_batch(read)]


def well_formed(text: str) -> str:
    """Return ``text`` with U+FFFD for each half of a surrogate pair, which Elasticsearch stores but is no character."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def control_words(settings: dict[str, Any]) -> set[str]:
    """Return the words by which a tokenizer.json marks beginnings, ends and the like: none of them is meant by a
    text that contains it."""
    words = {str(token["content"]) for token in settings.get("added_tokens") or [] if token.get("special")}
    return words | _added_around(settings.get("post_processor"))


def _added_around(processor: Any) -> set[str]:
    if not isinstance(processor, dict):
        return set()
    words = {word for step in processor.get("processors") or [] for word in _added_around(step)}
    words |= set(processor.get("special_tokens") or {})
    return words | {str(processor[key][0]) for key in ("sep", "cls") if processor.get(key)}


def _as_text(settings: dict[str, Any]) -> dict[str, Any]:
    """Give the control words names that no text contains, everywhere but where they are added around a text.

    ``encode_special_tokens`` of the library isn't enough: a Unigram model still finds ``</s>`` among its pieces; and
    the server plugin's bridge to the library lacks it. The ids stay what they are.
    """
    # Bytes of unknown characters are looked up by these names.
    words = {word for word in control_words(settings) if not _BYTE.fullmatch(word)}

    def name(word: str) -> str:
        return word + _RESERVED if word in words else word

    added = [token for token in settings.get("added_tokens") or [] if not _BYTE.fullmatch(token["content"])]
    model = dict(settings["model"])
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {name(word): number for word, number in vocabulary.items()}
    elif isinstance(vocabulary, list):
        model["vocab"] = [[name(word), score] for word, score in vocabulary]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = name(model["unk_token"])
    return {**settings, "added_tokens": [{**t, "content": name(t["content"])} for t in added], "model": model}
