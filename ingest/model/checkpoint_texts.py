"""What a checkpoint is for texts, by its kind: the tower, its tokenizer, and how texts are cut and prompted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crosslens.ingest.model.folder import text_settings
from crosslens.ingest.model.gemma import LONGEST_TEXT, Texts, load_gemma
from crosslens.ingest.model.pe_av import FirstText, load_pe_av
from crosslens.ingest.model.prompts import Prompts, TextOptions
from crosslens.ingest.model.sentence import SentenceText, stated_prompts
from crosslens.ingest.model.towers import TextTower
from crosslens.ingest.model.vocabulary import check_vocabulary, fast_tokenizer, load_tokenizer

# Families whose text encoder needs to know which positions are padding.
_MASKED = {"chinese_clip", "align", "clap"}


def clip_text(
    folder: Path, model: Any, config: dict[str, Any], chosen: TextOptions, trust_remote_code: bool
) -> dict[str, Any]:
    """Return what a `Checkpoint` has for texts, of a model with both towers."""
    family = str(config["model_type"])
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    longest = tokenizer.model_max_length
    if family == "clap":
        # As RoBERTa, it counts positions from the padding token's id on.
        text = model.config.text_config
        longest = min(longest, text.max_position_embeddings - text.pad_token_id - 1)
    limits = {"model_max_length": longest, "padding_side": tokenizer.padding_side}
    exported = fast_tokenizer(tokenizer, folder)
    check_vocabulary(exported, model, family)
    return {
        "text": TextTower(model, family in _MASKED).eval(),
        "masked": family in _MASKED,
        "settings": text_settings(config, limits, tokenizer.pad_token_id),
        "prompts": chosen.prompts(Prompts()),
        "tokenizer": tokenizer,
        "lower_case": False,
        "exported_tokenizer": exported,
        "config": config,
    }


def joined_text(folder: Path, chosen: TextOptions, dims: int | None, trust_remote_code: bool) -> dict[str, Any]:
    """Return what a `Checkpoint` has of an EmbeddingGemma 2."""
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    gemma = load_gemma(folder, tokenizer, dims)
    exported = fast_tokenizer(tokenizer, folder)
    check_vocabulary(exported, gemma.model, "")
    longest = min(tokenizer.model_max_length, LONGEST_TEXT)
    limits = {"model_max_length": longest, "padding_side": tokenizer.padding_side}
    return {
        "text": Texts(gemma.model, gemma.dims).eval(),
        "masked": True,
        "settings": text_settings({}, limits, tokenizer.pad_token_id),
        "prompts": chosen.prompts(stated_prompts(folder)),
        "tokenizer": tokenizer,
        "lower_case": False,
        "exported_tokenizer": exported,
        "config": gemma.model.config.to_diff_dict(),
        "gemma": gemma,
    }


def pe_av_text(folder: Path, chosen: TextOptions, trust_remote_code: bool) -> dict[str, Any]:
    """Return what a `Checkpoint` has of a PE-AV."""
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    pe_av = load_pe_av(folder)
    exported = fast_tokenizer(tokenizer, folder)
    check_vocabulary(exported, pe_av.model, "")
    longest = min(tokenizer.model_max_length, pe_av.model.config.text_config.max_position_embeddings)
    limits = {"model_max_length": longest, "padding_side": tokenizer.padding_side}
    return {
        "text": FirstText(pe_av.model).eval(),
        "masked": True,
        "settings": text_settings({}, limits, tokenizer.pad_token_id),
        "prompts": chosen.prompts(Prompts()),
        "tokenizer": tokenizer,
        "lower_case": False,
        "exported_tokenizer": exported,
        "config": pe_av.model.config.to_diff_dict(),
        "pe_av": pe_av,
    }


def sentence_text(tower: SentenceText, chosen: TextOptions, trust_remote_code: bool) -> dict[str, Any]:
    """Return what a `Checkpoint` has for texts, of a text encoder by itself."""
    tokenizer = load_tokenizer(tower.folder, trust_remote_code=trust_remote_code)
    limits = {"model_max_length": tower.limit(tokenizer.model_max_length), "padding_side": tokenizer.padding_side}
    exported = fast_tokenizer(tokenizer, tower.folder, lower_case=tower.lower_case)
    check_vocabulary(exported, tower.module.transformer, "")
    return {
        "text": tower.module.eval(),
        "masked": True,
        "settings": text_settings({}, limits, tokenizer.pad_token_id),
        "prompts": chosen.prompts(tower.prompts),
        "tokenizer": tokenizer,
        "lower_case": tower.lower_case,
        "exported_tokenizer": exported,
    }
