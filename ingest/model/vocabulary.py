"""A checkpoint's tokenizer as a tokenizer.json, and the check that it really is the checkpoint's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from crosslens.errors import ExportError
from crosslens.ingest.model.weights import first_line

# The files that hold a tokenizer's words. Without any of them, transformers makes up a tokenizer.
_WORDS = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_BPE = ("vocab.json", "merges.txt")
_HINT = "take the tokenizer's files from where the checkpoint was published"


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load a folder's tokenizer. Raises `ExportError` where its words are missing or can't be read."""
    from transformers import AutoTokenizer

    there = any((folder / name).exists() for name in _WORDS) or all((folder / name).exists() for name in _BPE)
    if not there:
        lacking = f"{', '.join(_WORDS)}, or {' and '.join(_BPE)}"
        raise ExportError(f"{folder} has no tokenizer ({lacking})", hint=_HINT)
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise ExportError(f"the tokenizer in {folder} can't be loaded: {first_line(error)}", hint=_HINT) from error


def fast_tokenizer(tokenizer: Any, folder: Path, *, lower_case: bool = False) -> Tokenizer:
    """Return ``tokenizer`` in the form of a tokenizer.json. Raises `ExportError` where it has none."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        fast = Tokenizer.from_str(backend.to_str())
        if lower_case:
            steps = [normalizers.Lowercase(), *([fast.normalizer] if fast.normalizer is not None else [])]
            fast.normalizer = normalizers.Sequence(steps)
        return fast
    if (folder / "spiece.model").exists() and "siglip" in type(tokenizer).__name__.lower():
        return siglip_tokenizer(folder / "spiece.model")
    raise ExportError(f"the tokenizer {type(tokenizer).__name__} has no tokenizer.json form")


def check_vocabulary(tokenizer: Tokenizer, model: Any, family: str) -> None:
    """Raise `ExportError` where the tokenizer has more words than the ``model`` (of transformers) knows, or ends texts
    with a token other than the one at which a CLIP model reads its vector."""
    # Added words that are marked as special never occur in a text.
    added = [number for number, token in tokenizer.get_added_tokens_decoder().items() if not token.special]
    usual = tokenizer.get_vocab(with_added_tokens=False).values()
    words = max([*usual, *added, *tokenizer.encode("").ids], default=-1) + 1
    config = getattr(model.config, "text_config", None) or model.config
    if words > config.vocab_size:
        raise ExportError(
            f"the tokenizer has {words} words, the text encoder knows {config.vocab_size}: they are not of one model",
            hint=_HINT,
        )
    end = getattr(config, "eos_token_id", None)
    # With 2, as in OpenAI's own configurations, transformers looks for the largest id instead.
    if family == "clip" and end != 2:
        ids = tokenizer.encode("a").ids
        if not ids or ids[-1] != end:
            said = repr(tokenizer.id_to_token(ids[-1])) + f" ({ids[-1]})" if ids else "nothing"
            raise ExportError(
                f"config.json says that texts end with the token {end} (eos_token_id), and the tokenizer ends them "
                f"with {said}: the text encoder would read its vector at the wrong place",
                hint="correct eos_token_id in text_config, or " + _HINT,
            )


def siglip_tokenizer(pieces: Path) -> Tokenizer:
    """SigLIP's sentencepiece model as a tokenizers pipeline: lower case, no punctuation, single spaces, ``</s>``.

    Source: the canonicalisation in big_vision's prompt_engineering.py, which SigLIP was trained with.
    """
    from sentencepiece import sentencepiece_model_pb2

    # The module is generated from a protocol buffer, which mypy sees no names in.
    proto: Any = getattr(sentencepiece_model_pb2, "ModelProto")()  # noqa: B009
    proto.ParseFromString(pieces.read_bytes())
    if proto.trainer_spec.model_type != 1:
        raise ExportError(f"{pieces} is not a unigram model")
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, proto.trainer_spec.unk_id, proto.trainer_spec.byte_fallback))
    tokenizer.normalizer = normalizers.Sequence(_siglip_steps(proto.normalizer_spec))
    # Pieces never contain a word mark inside, but runs of marks may be pieces: texts stay whole, as in sentencepiece.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Metaspace()
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return tokenizer


def _siglip_steps(spec: Any) -> list[Any]:
    """Return the steps of transformers' SiglipTokenizer followed by those of sentencepiece under its ``spec``.

    The word mark is added before the text is canonicalised, so a text that then begins with a space has two.
    """
    # Python's \s includes these separators, and its lower() knows the sigma that ends a word.
    space, last_sigma = r"[\s\x1c-\x1f]+", r"(?<=\p{L})Σ(?!\p{L})"
    steps: list[Any] = [
        normalizers.Replace("▁", " "),
        normalizers.Prepend("▁"),
        normalizers.Replace(Regex(last_sigma), "ς"),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""),
        normalizers.Replace(Regex(space), " "),
        normalizers.Strip(),
    ]
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex(" +"), " "))
    steps.append(normalizers.Replace(" ", "▁"))
    if spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex("▁+\\z"), ""))
    return steps
