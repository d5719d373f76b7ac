"""Texts are text: no word in one, and no half of a character, means anything to the tokenizer or stops it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from crosslens.demo.build import DATA
from crosslens.errors import ModelError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.tokens import TextTokenizer
from crosslens.surrogates import well_formed

WORDS = ["<|endoftext|>", "<|startoftext|>", "</s>", "<s>", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "<pad>", "<unk>"]
TEMPLATES = ["a cat {} and a dog", "{} and a dog", "a cat {}", "a cat{}dog", "{0}{0}", "A CAT {} {}"]
TEXTS = [template.format(*[word] * 2) for word in WORDS for template in TEMPLATES]


def clip_like() -> Tokenizer:
    return Tokenizer.from_file(str(DATA / "model/tokenizer.json"))


def bert_like() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, *"[]<>|/abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), "cat"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(special)
    return tokenizer


def unigram() -> Tokenizer:
    """As of XLM-R: the control words are pieces of the vocabulary."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, "▁", "▁cat", "▁a", *"<>/|[]abcdefghijklmnopqrstuvwxyzACDEKLNPSTU"]
    tokenizer = Tokenizer(models.Unigram([(p, 0.0 if p in special else -float(i)) for i, p in enumerate(pieces)], 3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([*special, "<mask>"])
    tokenizer.add_tokens(["sneakers"])
    return tokenizer


def opened(tokenizer: Tokenizer, path: Path) -> TextTokenizer:
    tokenizer.save(str(path))
    return TextTokenizer(path, 200)


@pytest.mark.parametrize("make", [clip_like, bert_like])
def test_words_of_the_tokenizers_own_are_encoded_as_the_library_encodes_them_as_text(
    make: object, tmp_path: Path
) -> None:
    tokenizer = make()  # type: ignore[operator]
    mine = opened(tokenizer, tmp_path / "tokenizer.json")
    tokenizer.encode_special_tokens = True
    assert mine.ids(TEXTS) == [tokenizer.encode(text).ids for text in TEXTS]


@pytest.mark.parametrize("make", [clip_like, bert_like, unigram])
def test_no_word_of_a_text_is_a_control_token(make: object, tmp_path: Path) -> None:
    tokenizer = make()  # type: ignore[operator]
    around = tokenizer.encode("").ids
    for text, ids in zip(TEXTS, opened(tokenizer, tmp_path / "tokenizer.json").ids(TEXTS), strict=True):
        controls = {tokenizer.token_to_id(word) for word in WORDS} - {tokenizer.token_to_id("[UNK]"), None}
        controls -= {tokenizer.token_to_id("<unk>")}
        assert [i for i in ids if i in controls] == around, text


@pytest.mark.parametrize("make", [clip_like, bert_like, unigram])
def test_other_texts_have_the_ids_that_they_always_had(make: object, tmp_path: Path) -> None:
    tokenizer = make()  # type: ignore[operator]
    texts = [
        "",
        "a cat",
        "sneakers and a cat",
        "naïve café",
        "東京",
        "🙂",
        "x < y > z | [1]",
        "a" * 300,
        "\n\t",
        "\x00",
    ]
    mine = opened(tokenizer, tmp_path / "tokenizer.json").ids(texts)
    tokenizer.enable_truncation(200)
    assert mine == [tokenizer.encode(text).ids for text in texts]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("half \ud83d", "half \ufffd"),
        ("\ude42", "\ufffd"),
        ("a\ud83db", "a\ufffdb"),
        ("\ude42\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ud83d\ude42", "\ufffd🙂"),
        ("\ud83d\ude42 both halves", "🙂 both halves"),
        ("🙂", "🙂"),
    ],
)
def test_half_an_emoji_is_read_as_the_server_plugin_reads_it(text: str, read: str) -> None:
    assert well_formed(text) == read


def test_half_an_emoji_stops_neither_encoding_nor_counting(encoder: Encoder) -> None:
    texts = ["shoe \ud83d", "\ude42 shoe", "shoe"]
    assert encoder.token_counts(texts) == encoder.token_counts([well_formed(text) for text in texts])
    vectors = encoder.encode_texts(texts)
    assert np.allclose(vectors[0], encoder.encode_texts(["shoe \ufffd"])[0], atol=1e-5)


def test_what_follows_a_control_word_still_counts(encoder: Encoder) -> None:
    vectors = encoder.encode_texts(["cat <|endoftext|> red shoe", "cat <|endoftext|> blue car"])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"model": 1}', '{"model": {}, "added_tokens": 5}'])
def test_what_is_no_tokenizer_is_named(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "tokenizer.json").write_text(damaged)
    with pytest.raises(ModelError, match=r"tokenizer\.json can't be read as a tokenizer"):
        TextTokenizer(tmp_path / "tokenizer.json", 5)
