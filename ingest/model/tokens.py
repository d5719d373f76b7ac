"""From texts to token ids. A text is only ever text: a tokenizer's control words have no special meaning in it."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from crosslens.errors import ModelError
from crosslens.surrogates import well_formed

# Two noncharacters, which never occur in a text.
_RESERVED = "\ufffe\uffff"
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class TextTokenizer:
    """A folder's tokenizer.json, cutting texts to the model's limit of tokens; its ids equal the server plugin's.

    ``canonical`` first removes punctuation and lowercases the text.
    """

    def __init__(self, path: Path, length: int, *, canonical: bool = False):
        """Raises `ModelError` when the file isn't a tokenizer."""
        self._canonical = canonical
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            text = json.dumps(_as_text(settings), ensure_ascii=False)
            self._tokenizer, self._uncut = Tokenizer.from_str(text), Tokenizer.from_str(text)
        except Exception as error:
            raise ModelError(f"{path} can't be read as a tokenizer ({error})") from error
        # Padding is done by batch, and always to int64 rows; the file's own settings would pad every text.
        for each in (self._tokenizer, self._uncut):
            each.no_padding()
            each.no_truncation()
        self._tokenizer.enable_truncation(length)
        self.length = length

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids, with the special tokens that the tokenizer adds."""
        return [each.ids for each in self._tokenizer.encode_batch(self._read(texts))]

    def counts(self, texts: Sequence[str], *, special: bool = False) -> list[int]:
        """Return how many tokens each text has in full, with the ``special`` ones or without."""
        return [len(each.ids) for each in self._uncut.encode_batch(self._read(texts), add_special_tokens=special)]

    def _read(self, texts: Sequence[str]) -> list[str]:
        read = [well_formed(text) for text in texts]
        if self._canonical:
            read = [" ".join(text.split()).translate(_NO_PUNCTUATION).lower() for text in read]
        return read


def control_words(settings: dict[str, Any]) -> set[str]:
    """Return the words that mark beginnings, ends and the like in a tokenizer.json; in a text they are ordinary
    words."""
    words = {str(token["content"]) for token in settings.get("added_tokens") or [] if token.get("special")}
    return words | _added_around(settings.get("post_processor"))


def _added_around(processor: Any) -> set[str]:
    if not isinstance(processor, dict):
        return set()
    words = {word for step in processor.get("processors") or [] for word in _added_around(step)}
    words |= set(processor.get("special_tokens") or {})
    return words | {str(processor[key][0]) for key in ("sep", "cls") if processor.get(key)}


def _as_text(settings: dict[str, Any]) -> dict[str, Any]:
    """Rename the control words to names that never occur in a text, except where they are added around a text.

    ``encode_special_tokens`` of the library isn't enough: a Unigram model still finds ``</s>`` among its pieces, and
    the server plugin's bridge to the library lacks it. The ids stay the same.
    """
    # The bytes of unknown characters are looked up by these names.
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
