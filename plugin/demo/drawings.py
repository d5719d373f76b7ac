"""The parts of the demo's model and its training data: drawings, captions, tokenizer and architecture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from crosslens.demo import vendors

CANVAS = vendors.SIDE
PIXELS = 48
PATCH = 8
CONTEXT = 32
VOCABULARY = 2500


@dataclass(frozen=True)
class Drawings:
    """``pixels`` uint8 [n, 4, 64, 64] (RGBA) and ``concept`` int64 [n], the row of each one's concept."""

    pixels: Tensor
    concept: Tensor


def load_drawings(vendor: str, concepts: list[vendors.Concept], cache: Path) -> Drawings:
    read = vendors.open_vendor(vendor, cache)
    rows, pixels = [], []
    for row, concept in enumerate(concepts):
        image = read(concept)
        if image is None:
            continue
        if image.size != (CANVAS, CANVAS):
            image = image.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
        rows.append(row)
        pixels.append(np.asarray(image).transpose(2, 0, 1))
    return Drawings(torch.from_numpy(np.stack(pixels)), torch.tensor(rows))


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Train a byte-level BPE tokenizer with CLIP's pipeline (lower case, ``</w>``, start and end tokens)."""
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    # As in CLIP's vocabulary, every byte also exists as a word's last one, so no text is ever unknown.
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *("".join(merge) for merge in merges)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer.model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>")
    # CLIP gives the two special tokens the highest ids: its pooling once relied on that.
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    start, end = special_ids(tokenizer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", end), ("<|startoftext|>", start), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.enable_truncation(CONTEXT)
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> tuple[int, int]:
    start, end = (tokenizer.token_to_id(token) for token in ("<|startoftext|>", "<|endoftext|>"))
    assert start is not None
    assert end is not None
    return start, end


def build_model(tokenizer: Tokenizer) -> CLIPModel:
    start, end = special_ids(tokenizer)
    return CLIPModel(
        CLIPConfig(
            projection_dim=192,
            text_config={
                "vocab_size": tokenizer.get_vocab_size(),
                "hidden_size": 128,
                "intermediate_size": 512,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "max_position_embeddings": CONTEXT,
                "bos_token_id": start,
                "eos_token_id": end,
                "pad_token_id": end,
            },
            vision_config={
                "hidden_size": 192,
                "intermediate_size": 576,
                "num_hidden_layers": 6,
                "num_attention_heads": 3,
                "image_size": PIXELS,
                "patch_size": PATCH,
            },
        )
    )


class Captions:
    """Draw captions for concepts, with the concepts that each caption is true of."""

    def __init__(self, concepts: list[vendors.Concept], tokenizer: Tokenizer, rng: np.random.Generator):
        self._tokenizer, self._rng = tokenizer, rng
        self._names = [list(dict.fromkeys((c.name, *c.names))) for c in concepts]
        self._keywords = [list(c.keywords) for c in concepts]
        words = sorted({w for c in concepts for w in c.keywords})
        self._column = {w: i for i, w in enumerate(words)}
        self._has = torch.zeros(len(concepts), len(words))
        for row, concept in enumerate(concepts):
            for word in (*concept.keywords, *concept.names, concept.name):
                if word in self._column:
                    self._has[row, self._column[word]] = 1

    def draw(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return token ids and mask [n, t], and truth [n, n]: caption j is true of the concept in row i."""
        texts, needs = [], torch.zeros(len(rows), len(self._column))
        exact = torch.zeros(len(rows), dtype=torch.bool)
        for i, row in enumerate(rows.tolist()):
            names, keywords = self._names[row], self._keywords[row]
            kind = self._rng.random()
            if not keywords or kind < 0.55:
                name = names[0] if kind < 0.3 else names[self._rng.integers(len(names))]
                some = []
                if keywords and kind > 0.45:
                    some = list(self._rng.permutation(keywords))[: self._rng.integers(1, 5)]
                texts.append(" ".join([name, *some]))
                exact[i] = True
            else:
                most = 2 if kind < 0.75 else 8
                some = list(self._rng.permutation(keywords))[: self._rng.integers(1, most)]
                texts.append(" ".join(some))
                needs[i, [self._column[w] for w in some]] = 1
        truth = (self._has[rows] @ needs.T) >= needs.sum(1)
        truth &= ~exact
        truth |= torch.eye(len(rows), dtype=torch.bool)
        return *tokenise(self._tokenizer, texts), truth


def tokenise(tokenizer: Tokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    encoded = [e.ids for e in tokenizer.encode_batch(texts)]
    longest = max(map(len, encoded))
    end = encoded[0][-1]
    ids = torch.tensor([row + [end] * (longest - len(row)) for row in encoded])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in encoded])
    return ids, mask
