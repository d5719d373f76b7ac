"""Model folders and their fingerprints; texts and their token ids."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from crosslens.ingest.model.folder import open_model
from crosslens.ingest.model.prompts import Prompts
from crosslens.ingest.model.tokens import TextTokenizer
from tests.golden import FOLDER, Line
from tests.golden.documents import encoder

Files = dict[str, str]
_TOKENIZER = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [
            {"id": 3, "content": "<pad>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
            | {"special": True}
        ],
        "model": {"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1, "</s>": 2}, "unk_token": "<unk>"},
    }
)
_PREPROCESSOR = json.dumps(
    {"image_processor_type": "SiglipImageProcessor", "size": {"height": 8, "width": 8}}
    | {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
)
_SOUNDS = json.dumps(
    {"feature_extractor_type": "ClapFeatureExtractor", "sampling_rate": 16, "max_length_s": 1, "hop_length": 8}
    | {"feature_size": 4, "fft_window_size": 4, "frequency_min": 0, "frequency_max": 8, "truncation": "rand_trunc"}
)


def _field(number: int, content: str) -> str:
    """A field of a protocol buffer that holds bytes, of which there are less than 128, all of them ASCII."""
    assert len(content) < 128
    return chr(number << 3 | 2) + chr(len(content)) + content


def _graph(read: str, sizes: tuple[int, ...], kind: int, said: str = "", beside: str = "") -> str:
    """The least that is an ONNX graph: one input of the ``sizes`` (0 for one that may vary), one output, and perhaps
    weights in the file ``beside`` it; ``said`` makes it another."""
    dims = "".join(_field(1, "\x08" + chr(size) if size else _field(2, "n")) for size in sizes)
    given = _field(1, "\x08\x01" + _field(2, _field(1, _field(2, "n")) + _field(1, "\x08\x04")))
    graph = _field(11, _field(1, read) + _field(2, _field(1, "\x08" + chr(kind) + _field(2, dims))))
    graph += _field(12, _field(1, "y") + _field(2, given))
    if beside:
        graph += _field(5, _field(8, "w") + _field(13, _field(1, "location") + _field(2, beside)))
    return _field(2, said) + _field(7, graph)


_OF_PICTURES = ("vision_model.onnx", "preprocessor_config.json")
_TEXT = _graph("input_ids", (0, 0), 7)
_VISION = _graph("pixel_values", (0, 3, 8, 8), 1)


def _folder(**changed: str) -> Files:
    """A folder as transformers.js has it; ``changed`` by the files' names, "config_json" being config.json."""
    files = {
        "config.json": "{}",
        "onnx/text_model.onnx": _TEXT,
        "onnx/vision_model.onnx": _VISION,
        "tokenizer.json": _TOKENIZER,
        "preprocessor_config.json": _PREPROCESSOR,
    }
    return files | {name.replace("_json", ".json"): content for name, content in changed.items()}


def _with_manifest(files: Files, **more: object) -> Files:
    hashes = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in files.items()}
    return files | {"crosslens.json": json.dumps({"files": hashes, **more})}


def folders() -> Iterator[tuple[str, Files]]:
    yield "without a manifest", _folder()
    yield "another graph", _folder() | {"onnx/text_model.onnx": _graph("input_ids", (0, 0), 7, "2")}
    yield "another tokenizer", _folder(tokenizer_json=_TOKENIZER + "\n")
    yield "another preprocessor", _folder(preprocessor_config_json=_PREPROCESSOR + "\n")
    yield "config.json counts only for what it says of texts", _folder(config_json='{"_name_or_path": "maker/clip"}')
    yield "other files don't", _folder(README_md="read me", tokenizer_config_json="{}")
    flat = {name.removeprefix("onnx/"): content for name, content in _folder().items()}
    yield "another precision of the tokens", _folder() | {"onnx/text_model.onnx": _graph("input_ids", (0, 0), 6)}
    yield "a graph of a fixed length", _folder() | {"onnx/text_model.onnx": _graph("input_ids", (1, 16), 7)}
    data = {"onnx/text_model.onnx": _graph("input_ids", (0, 0), 7, beside="t.onnx_data")}
    yield "weights beside a graph", _folder() | data | {"onnx/t.onnx_data": "0123"}
    yield "other weights beside the same graph", _folder() | data | {"onnx/t.onnx_data": "0124"}
    unlisted = _with_manifest(_folder() | data) | {"onnx/t.onnx_data": "0123"}
    yield "weights beside a graph that a manifest doesn't list", unlisted
    processor = {name: content for name, content in _folder().items() if name != "preprocessor_config.json"}
    whole = json.dumps({"image_processor": json.loads(_PREPROCESSOR)})
    yield "one file for all processors", processor | {"processor_config.json": whole}
    yield "graphs outside of onnx/", flat
    yield "both places", flat | _folder()
    text = {"length": 16, "pad_id": 3, "fixed": True, "side": "left"}
    yield "a manifest", _with_manifest(_folder(), name="emoji", text=text, dims=24)
    yield "a manifest, in which config.json counts", _with_manifest(_folder(config_json='{"a": 1}'), text=text)
    yield "a manifest of more files", _with_manifest(_folder() | {"onnx/text_model.onnx_data": "0123"}, text=text)
    yield "a manifest without text settings", _with_manifest(_folder(config_json='{"model_type": "siglip"}'))
    related = {"0123456789abcdef": {"search": True, "recall": 0.99}, "0000456789abcdef": {"search": False}}
    yield "a manifest with relations", _with_manifest(_folder(), relations=related)
    odd = {"0123456789abcdef": {"search": 1}, "0000456789abcdef": [], "1111456789abcdef": {"search": "true"}}
    yield "relations that allow nothing", _with_manifest(_folder(), relations=odd)
    kept = {"fp32/onnx/text_model.onnx": _graph("input_ids", (0, 0), 7, "kept")}
    listed = {"fp32": {"precision": "fp32", "files": {"onnx/text_model.onnx": "0"}, "fingerprint": "1"}}
    yield "a variant within", _with_manifest(_folder(), variants=listed) | kept
    limits = {"model_type": "clip", "text_config": {"max_position_embeddings": 48, "pad_token_id": 5}}
    yield "limits of the checkpoint", _folder(config_json=json.dumps(limits))
    yield "a tokenizer's limit", _folder(tokenizer_config_json='{"model_max_length": 20, "padding_side": "left"}')
    yield "a tokenizer without limit", _folder(tokenizer_config_json='{"model_max_length": 1e30}')
    yield "a padding token that was added", _folder(tokenizer_config_json='{"pad_token": "<pad>"}')
    yield "a padding token of the vocabulary", _folder(tokenizer_config_json='{"pad_token": {"content": "</s>"}}')
    yield (
        "an unknown padding token",
        _folder(config_json='{"pad_token_id": 9}', tokenizer_config_json='{"pad_token": "x"}'),
    )
    yield "no padding token", _folder(config_json='{"pad_token_id": 9, "text_config": {"pad_token_id": null}}')
    of_texts = {name: content for name, content in _folder().items() if name.split("/")[-1] not in _OF_PICTURES}
    yield "a text model", of_texts
    sentences = {
        "sentence_bert_config.json": '{"max_seq_length": 24}',
        "tokenizer_config.json": '{"pad_token": "<pad>"}',
    }
    yield "a text model's limit", of_texts | sentences
    yield "a text model's limit counts for no other", _folder() | sentences
    yield "a text model with a manifest", _with_manifest(of_texts, text=text, dims=24)
    prompted = {"config_sentence_transformers.json": json.dumps({"prompts": {"query": "q: ", "passage": "p: "}})}
    yield "prompts", of_texts | prompted
    usual = {"prompts": {"document": "", "corpus": "c", "x": "\u00e9 "}, "default_prompt_name": "x"}
    yield "a default prompt", of_texts | {"config_sentence_transformers.json": json.dumps(usual)}
    bare = {"prompts": {"query": "", "document": None}, "default_prompt_name": None}
    yield "prompts of nothing", of_texts | {"config_sentence_transformers.json": json.dumps(bare)}
    yield "a manifest that lists the prompts", _with_manifest(of_texts | prompted, text=text)
    yield "a manifest that doesn't list the prompts", _with_manifest(of_texts, text=text) | prompted
    audio = {"onnx/audio_model.onnx": _graph("input_features", (0, 1, 3, 4), 1), "preprocessor_config.json": _SOUNDS}
    yield "a model of texts and sounds", of_texts | audio
    yield "other preparation of sounds", of_texts | audio | {"preprocessor_config.json": _SOUNDS + "\n"}
    yield "a model of texts and sounds with a manifest", _with_manifest(of_texts | audio, text=text)
    beside = {"processor_config.json": json.dumps({"feature_extractor": json.loads(_SOUNDS)})}
    heard = {"onnx/audio_model.onnx": _graph("input_features", (0, 1, 3, 4), 1, beside="a.onnx_data")}
    yield "texts, pictures and sounds", _folder() | heard | beside | {"onnx/a.onnx_data": "0123"}
    for family in ("siglip", "siglip2", "siglip_text_model", "siglip_vision_model"):
        yield f"the family {family}", _folder(config_json=json.dumps({"model_type": family}))


def opened(files: Files) -> Line:
    """What is read of a folder, which is called "model"."""
    with tempfile.TemporaryDirectory() as root:
        for name, content in files.items():
            path = Path(root) / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())
        folder = open_model(Path(root) / "model")
    said: Line = {"fingerprint": folder.fingerprint, "name": folder.name}
    said |= {"text": asdict(folder.text), "dims": folder.dims}
    said |= {"searches": sorted(folder.searches)} if folder.searches else {}
    return said | ({} if folder.prompts == Prompts() else {"prompts": asdict(folder.prompts)})


def recorded_fingerprints() -> list[Line]:
    return [{"case": case, "files": files, **opened(files)} for case, files in folders()]


TEXTS = [
    "",
    " ",
    "\n\t",
    "red heart",
    "Red HEART",
    "  two   spaces  ",
    "line\nbreak\ttab\r\n",
    "no\u00a0break\u2003em\u3000wide\u0085next",
    "zero\u200bwidth\ufeffmark",
    "a red heart, isn't it? it's I'LL we've they're I'm you'd can't",
    "numbers 1234567890 and 3.14",
    "punctuation !!! ... ?! #tag @name a/b \\ ~`^|<>{}[]()",
    "❤️",
    "😀😃😄",
    "👩‍👩‍👧‍👦 family",
    "🏳️‍🌈🇩🇪👍🏽",
    "é",
    "e\u0301",
    "a\u0327\u0301\u0323",
    "\u0301\u0300",
    "İstanbul ſ ß ẞ ﬁ",
    "ΣΑΣ ΌΔΟΣ",
    "靴 と 赤い心",
    "红心",
    "가\u1100\u1161",
    "شكرا لك",
    "עִבְרִית",
    "हिन्दी",
    "ไทย",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 \U0010ffff",
    "\u0000",
    "a\u0001b\u0007c\u001fd\u007fe\u009ff",
    "\u202eright to left\u202c",
    "\ufffd",
    "\ud800",
    "a\udc00b\ud83d",
    "<|startoftext|>red<|endoftext|>",
    "<|endoftext|>",
    "<|ENDOFTEXT|>",
    "a " * 29,
    "a " * 30,
    "a " * 31,
    "a " * 500,
    "heart" * 200,
    "❤️" * 100,
    "x" * 10_000,
]


WORDS = [
    "a photo of a cat and a dog",
    "Blue Running SHOES, size 42!",
    "naïve café ÜBERRASCHUNG красный",
    "[CLS] a cat [SEP] and [MASK] [PAD] [UNK]",
    "x" * 101,
]
WORDPIECE = FOLDER / "tokenizers" / "wordpiece.json"


def wordpieces(texts: list[str]) -> list[list[int]]:
    """By a text model's tokenizer, cut to 48 tokens."""
    return TextTokenizer(WORDPIECE, 48).ids(texts)


def recorded_tokens() -> list[Line]:
    """By the demo's tokenizer, cut to its 32 tokens, then by a text model's."""
    demo = [{"text": text, "ids": ids} for text, ids in zip(TEXTS, encoder().tokens(TEXTS), strict=True)]
    texts = [*TEXTS, *WORDS]
    return demo + [
        {"text": text, "ids": ids, "tokenizer": WORDPIECE.name, "length": 48}
        for text, ids in zip(texts, wordpieces(texts), strict=True)
    ]
