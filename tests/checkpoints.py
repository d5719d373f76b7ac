"""Small checkpoints with random weights, of the real classes, saved as transformers saves them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlignConfig,
    AlignModel,
    BertConfig,
    BertModel,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPConfig,
    CLIPModel,
    DistilBertConfig,
    DistilBertModel,
    EmbeddingGemma2Config,
    EmbeddingGemma2Model,
    Gemma4AudioFeatureExtractor,
    Gemma4ImageProcessorPil,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PeAudioFeatureExtractor,
    PeAudioVideoConfig,
    PeAudioVideoModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from crosslens.demo.train import train_tokenizer

CORPUS = [
    "a photo of a cat and a dog",
    "blue running shoes, size forty two",
    "two spaces and a new line in a very long description of a thing that goes on",
    "naïve café überraschung красный ботинок",
    "東京の写真",
    "all capitals and numbers 1234567890 it's per litre they're sold out sale shop smiling face word",
]
_OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "rescale_factor": 1 / 255,
    "do_rescale": True,
    "do_normalize": True,
    "do_resize": True,
}
_HALF = {**_OPENAI, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_VISION = {**_TOWER, "image_size": 32, "patch_size": 8}


def clip(folder: Path, *, legacy_eos: bool = False, seed: int = 0, projection_dim: int = 24) -> Path:
    """``legacy_eos``: eos_token_id 2 in the config, as OpenAI's checkpoints have, which pools by argmax of the ids."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(CORPUS)
    end = tokenizer.token_to_id("<|endoftext|>")
    text = {
        **_TOWER,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.token_to_id("<|startoftext|>"),
        "eos_token_id": 2 if legacy_eos else end,
        "pad_token_id": end,
    }
    model = CLIPModel(CLIPConfig(projection_dim=projection_dim, text_config=text, vision_config=_VISION))
    return _save(folder, model, _clip_tokenizer(tokenizer), _clip_processor(32))


def siglip(folder: Path, normalization: str = "nmt_nfkc") -> Path:
    torch.manual_seed(1)
    folder.mkdir(parents=True)
    pieces = _sentencepiece(folder, normalization)
    text = {**_TOWER, "vocab_size": pieces, "max_position_embeddings": 64, "pad_token_id": 1, "projection_size": 32}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION))
    settings = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 64, "pad_token": "</s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "unk_token": "<unk>"}))
    processor = {"image_processor_type": "SiglipImageProcessor", **_HALF, "resample": 3}
    return _save(folder, model, None, {**processor, "size": {"height": 32, "width": 32}})


def siglip2(folder: Path) -> Path:
    torch.manual_seed(2)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{i:02X}>" for i in range(256))]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=special))
    end = tokenizer.token_to_id("<eos>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", end)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=64
    )
    text = {**_TOWER, "vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 64, "projection_size": 32}
    vision = {**_TOWER, "patch_size": 8, "num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))
    processor = {"image_processor_type": "Siglip2ImageProcessor", **_HALF, "patch_size": 8, "max_num_patches": 16}
    return _save(folder, model, fast, {**processor, "resample": 2})


def chinese_clip(folder: Path) -> Path:
    torch.manual_seed(3)
    fast = _wordpiece(52)
    text = {**_TOWER, "vocab_size": len(fast), "max_position_embeddings": 512}
    model = ChineseCLIPModel(ChineseCLIPConfig(projection_dim=24, text_config=text, vision_config=_VISION))
    processor = {"image_processor_type": "ChineseCLIPImageProcessor", **_OPENAI, "resample": 3}
    size = {"height": 32, "width": 32}
    return _save(folder, model, fast, {**processor, "size": size, "do_center_crop": True, "crop_size": size})


def align(folder: Path) -> Path:
    torch.manual_seed(4)
    fast = _wordpiece(64)
    text = {**_TOWER, "vocab_size": len(fast), "max_position_embeddings": 64}
    vision = {
        "image_size": 64,
        "width_coefficient": 0.2,
        "depth_coefficient": 0.3,
        "hidden_dim": 48,
        "num_hidden_layers": 10,
        "depthwise_padding": [],
    }
    model = AlignModel(AlignConfig(projection_dim=64, text_config=text, vision_config=vision))
    for parameter in model.vision_model.parameters():
        if parameter.ndim == 4:
            # As they are initialised, ten layers of convolution leave nothing of a picture.
            torch.nn.init.kaiming_normal_(parameter)
    processor = {
        "image_processor_type": "EfficientNetImageProcessor",
        **_HALF,
        "rescale_factor": 1 / 127.5,
        "rescale_offset": True,
        "do_normalize": False,
        "include_top": False,
        "size": {"height": 68, "width": 68},
        "do_center_crop": True,
        "crop_size": {"height": 64, "width": 64},
        "resample": 2,
    }
    return _save(folder, model, fast, processor)


def clap(folder: Path, *, fused: bool = False) -> Path:
    torch.manual_seed(8)
    fast = _wordpiece(128, first="[UNK]")
    # It counts positions from the padding token's id on, which is 1.
    text = {**_TOWER, "vocab_size": len(fast), "max_position_embeddings": 130, "pad_token_id": fast.pad_token_id}
    audio = {
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [1, 2],
        "spec_size": 64,
        "num_mel_bins": 16,
        "enable_fusion": fused,
        "fusion_type": "aff_2d" if fused else None,
    }
    model = ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=24))
    with torch.no_grad():
        for name, values in [*model.named_parameters(), *model.named_buffers()]:
            # What a spectrogram was on average, in decibels.
            if name.endswith("running_mean"):
                values.normal_(-30, 5)
            elif name.endswith("running_var"):
                values.uniform_(50, 200)
            elif name.endswith("relative_position_bias_table"):
                values.normal_(0, 0.5)
    _save(folder, model, fast, None)
    clap_extractor("fusion" if fused else "rand_trunc").save_pretrained(folder)
    return folder


def clap_extractor(truncation: str, padding: str = "repeatpad") -> ClapFeatureExtractor:
    """Of two seconds at 16 kHz, which `clap` reads in place of ten at 48 kHz."""
    return ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16_000,
        hop_length=160,
        max_length_s=2,
        fft_window_size=512,
        frequency_min=50,
        frequency_max=7000,
        truncation=truncation,
        padding=padding,
    )


def gemma(folder: Path) -> Path:
    """An EmbeddingGemma 2, with its prompts."""
    torch.manual_seed(9)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    around = ["<boi>", "<eoi>", "<image>", "<video>", "<boa>", "<eoa>", "<audio>"]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *around]
    alphabet = [f"<0x{i:02X}>" for i in range(256)]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=special + alphabet))
    ids = {token: tokenizer.token_to_id(token) for token in special}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", ids["<bos>"]), ("<eos>", ids["<eos>"])]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        additional_special_tokens=around,
        model_max_length=512,
        padding_side="left",
    )
    tower = {"intermediate_size": 96, "num_hidden_layers": 2}
    text = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 32,
        "hidden_size_per_layer_input": 16,
        "embedding_dim": 24,
        "sliding_window": 16,
        "sliding_window_pattern": 2,
        **tower,
    }
    vision = {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 16, **tower}
    audio = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "output_proj_dims": 48}
    config = EmbeddingGemma2Config(
        text_config=text,
        vision_config={"model_type": "gemma4_vision", **vision},
        audio_config={"model_type": "gemma4_audio", "subsampling_conv_channels": [128, 8], **audio},
        boi_token_id=ids["<boi>"],
        eoi_token_id=ids["<eoi>"],
        image_token_id=ids["<image>"],
        video_token_id=ids["<video>"],
        boa_token_id=ids["<boa>"],
        eoa_token_index=ids["<eoa>"],
        audio_token_id=ids["<audio>"],
    )
    model = EmbeddingGemma2Model(config)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "per_dim_scale" in name or "position_embedding_table" in name:
                values.normal_(0, 0.5)
    _save(folder, model, fast, None)
    processor = {
        "image_processor": json.loads(Gemma4ImageProcessorPil(max_soft_tokens=70).to_json_string()),
        "feature_extractor": json.loads(Gemma4AudioFeatureExtractor().to_json_string()),
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
    prompts = {"query": "find: ", "document": "here: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def pe_av(folder: Path, *, frames: int | None = 5) -> Path:
    """A PE-AV; ``frames`` is how many of a clip it reads, None for all of them."""
    torch.manual_seed(10)
    fast = _wordpiece(128)
    text = {**_TOWER, "model_type": "modernbert", "vocab_size": len(fast), "num_hidden_layers": 4}
    special = {f"{name}_token_id": getattr(fast, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    bounds = {"bos_token_id": fast.cls_token_id, "eos_token_id": fast.sep_token_id}
    encoder = {**_TOWER, "head_dim": 16}
    dac = {"encoder_hidden_size": 8, "downsampling_ratios": [2, 8, 10, 12], "codebook_dim": 16}
    vision = {
        "model_type": "timm_wrapper",
        "architecture": "vit_pe_core_tiny_patch16_384",
        "do_pooling": True,
        "num_classes": 24,
        "global_pool": "map",
        "model_args": {"depth": 2, "img_size": 32, "embed_dim": 48, "num_heads": 2},
    }
    config = PeAudioVideoConfig(
        text_config={**text, **special, **bounds},
        audio_video_config={
            **encoder,
            "audio_config": {**encoder, "model_type": "pe_audio_encoder", "dac_config": {"model_type": "dac", **dac}},
            "video_config": {**encoder, "model_type": "pe_video_encoder", "vision_config": vision},
        },
    )
    model = PeAudioVideoModel(config)
    with torch.no_grad():
        for name, values in model.named_parameters():
            # As they are initialised, vectors hardly depend on what is seen and heard.
            if "dac_encoder" in name and name.endswith("weight"):
                torch.nn.init.kaiming_normal_(values)
            elif values.ndim == 3 and name.endswith("weight"):
                values.normal_(0, 0.2)
            elif name.endswith(("proj.weight", "embed.weight")) or ("text_model" in name and values.ndim == 2):
                values.mul_(4)
    _save(folder, model, fast, None)
    # A fifth of the real rate, since the proof hears ten seconds of several sounds.
    PeAudioFeatureExtractor(sampling_rate=9600).save_pretrained(folder)
    video = {"video_processor_type": "PeVideoVideoProcessor", **_HALF, "resample": 2, "do_convert_rgb": True}
    video |= {"size": {"height": 32, "width": 32}, "num_frames": frames, "do_sample_frames": frames is not None}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    return folder


def multilingual(folder: Path, dims: int = 24) -> Path:
    """A text tower in sentence-transformers' layout: DistilBERT, mean pooling, a dense layer onto CLIP's space."""
    torch.manual_seed(5)
    fast = _wordpiece(128)
    model = DistilBertModel(
        DistilBertConfig(
            vocab_size=len(fast), dim=32, hidden_dim=64, n_layers=2, n_heads=2, max_position_embeddings=128
        )
    )
    transformer = folder / "0_Transformer"
    _save(transformer, model, fast, None)
    (transformer / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "2_Dense").mkdir()
    dense = {
        "in_features": 32,
        "out_features": dims,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    (folder / "2_Dense/config.json").write_text(json.dumps(dense))
    save_file({"linear.weight": torch.randn(dims, 32)}, folder / "2_Dense/model.safetensors")
    kinds = [("", "0_Transformer", "Transformer"), ("", "1_Pooling", "Pooling"), ("", "2_Dense", "Dense")]
    (folder / "modules.json").write_text(
        json.dumps([{"path": path, "type": f"sentence_transformers.models.{kind}"} for _, path, kind in kinds])
    )
    return folder


def text_encoder(folder: Path, family: str, *, padding_side: str = "right", length: int = 128) -> Path:
    """A transformer for texts alone, without modules.json."""
    torch.manual_seed(7)
    # RoBERTa's kind count positions from the padding token's id on, which is 1.
    fast = _wordpiece(length, first="[UNK]" if family in ("mpnet", "xlm-roberta") else "[PAD]")
    fast.padding_side = padding_side
    size = {"vocab_size": len(fast), "pad_token_id": fast.pad_token_id}
    tower = {**size, **_TOWER, "max_position_embeddings": length}
    counted = {**tower, "max_position_embeddings": length + 2}
    made: dict[str, Callable[[], PreTrainedModel]] = {
        "bert": lambda: BertModel(BertConfig(**tower)),
        "mpnet": lambda: MPNetModel(MPNetConfig(**counted)),
        "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**counted)),
        "modernbert": lambda: ModernBertModel(
            ModernBertConfig(**tower, local_attention=16, global_attn_every_n_layers=2)
        ),
    }
    return _save(folder, made[family](), fast, None)


def sentence_encoder(
    folder: Path,
    family: str = "bert",
    *,
    pooling: str = "mean",
    dense: str | None = None,
    prompts: Mapping[str, str] | None = None,
    padding_side: str = "right",
) -> Path:
    """A text encoder in sentence-transformers' layout: pooling, and a dense layer with the activation ``dense``."""
    text_encoder(folder, family, padding_side=padding_side)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 96}))
    kinds = [("", "base.modules.Transformer"), ("1_Pooling", "sentence_transformer.modules.Pooling")]
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"embedding_dimension": 32, "pooling_mode": pooling}))
    if dense is not None:
        (folder / "2_Dense").mkdir()
        activation = f"torch.nn.modules.activation.{dense}"
        layer = {"in_features": 32, "out_features": 24, "bias": True, "activation_function": activation}
        (folder / "2_Dense/config.json").write_text(json.dumps(layer))
        weights = {"linear.weight": torch.randn(24, 32), "linear.bias": torch.randn(24)}
        save_file(weights, folder / "2_Dense/model.safetensors")
        kinds.append(("2_Dense", "base.modules.Dense"))
    kinds.append(("3_Normalize", "base.modules.Normalize"))
    (folder / "3_Normalize").mkdir()
    modules = [
        {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.{k}"} for i, (p, k) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def vit_b_32(folder: Path) -> Path:
    """CLIP ViT-B/32 at full size with random weights: for parity and speed, not for meaning."""
    torch.manual_seed(6)
    tokenizer = train_tokenizer(CORPUS)
    end = tokenizer.token_to_id("<|endoftext|>")
    model = CLIPModel(CLIPConfig(text_config={"eos_token_id": end, "bos_token_id": end - 1, "pad_token_id": end}))
    return _save(folder, model, _clip_tokenizer(tokenizer), _clip_processor(224))


def _clip_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|startoftext|>",
        eos_token=end,
        unk_token=end,
        pad_token=end,
        model_max_length=77,
    )


def _clip_processor(side: int) -> dict[str, object]:
    return {
        "image_processor_type": "CLIPImageProcessor",
        **_OPENAI,
        "size": {"shortest_edge": side},
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "resample": 3,
    }


def _save(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast | None, processor: dict[str, object] | None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        # Fresh models start with zero biases and tiny weights, whose vectors hardly depend on the input.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif parameter.ndim == 2:
                parameter.mul_(2.0)
    model.eval().save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def _wordpiece(length: int, first: str = "[PAD]") -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = sorted(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], key=lambda word: word != first)
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=length,
    )


def _sentencepiece(folder: Path, normalization: str) -> int:
    import sentencepiece

    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(line.lower() for line in CORPUS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "spiece"),
        vocab_size=150,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        normalization_rule_name=normalization,
    )
    corpus.unlink()
    loaded = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    return int(loaded.get_piece_size())
