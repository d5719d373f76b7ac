"""A model folder: its files, their integrity, and the identity of its vectors (its fingerprint)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crosslens.errors import ModelError
from crosslens.ingest.model.files import read_json, sha256
from crosslens.ingest.model.graph import Graph, read_graph
from crosslens.ingest.model.integrity import MANIFEST, check_inside, verify_files
from crosslens.ingest.model.joined import Joined, read_joined
from crosslens.ingest.model.layouts import Layout, find_layout, within
from crosslens.ingest.model.parts import apart
from crosslens.ingest.model.perception import Perception
from crosslens.ingest.model.ports import AudioPorts, TextPorts, VisionPorts, audio_ports, text_ports, vision_ports
from crosslens.ingest.model.prompts import PROMPTS, Prompts, read_prompts
from crosslens.ingest.model.sounds import SoundTransform, parse_sound
from crosslens.ingest.model.transform import ImageTransform, parse_transform

CONFIG = "config.json"
SENTENCES = "sentence_bert_config.json"
# The variant of a quantised folder that holds the float32 graphs, in a subfolder of that name.
FLOAT32 = "fp32"
# These families pool at the last position, so their texts are always padded to the full length.
_FIXED_LENGTH_FAMILIES = {"siglip", "siglip2", "siglip_text_model", "siglip2_text_model"}


@dataclass(frozen=True)
class TextSettings:
    """How texts become token ids: at most ``length`` tokens, padded with ``pad_id`` on the ``side`` (left or right)
    that the checkpoint was trained with, always to the full length when ``fixed``."""

    length: int
    pad_id: int
    fixed: bool
    side: str = "right"
    # Lower case and no punctuation, as open_clip does for SigLIP before it tokenizes.
    canonical: bool = False

    def line(self) -> str:
        """Return all settings in one line, as the fingerprint hashes them."""
        return f"{self.length} {self.pad_id} {self.fixed} {self.side} {self.canonical}".lower()


@dataclass(frozen=True)
class ModelFolder:
    """A folder with both encoders, in two graphs or in one, or, of a text model, with the one for texts; either may
    have one for sounds besides.

    ``fingerprint`` changes with everything that shapes the vectors; ``dims`` is None without a manifest. ``searches``
    are the fingerprints of other vectors that queries of this folder may be compared with, which its export has proved.
    """

    path: Path
    name: str
    fingerprint: str
    text_model: Path
    text_ports: TextPorts
    tokenizer: Path
    text: TextSettings
    prompts: Prompts = field(default_factory=Prompts)
    vision_model: Path | None = None
    vision_ports: VisionPorts | None = None
    transform: ImageTransform | None = None
    audio_model: Path | None = None
    audio_ports: AudioPorts | None = None
    sound: SoundTransform | None = None
    joined: Joined | Perception | None = None
    dims: int | None = None
    searches: frozenset[str] = frozenset()


def open_model(path: Path, *, variant: str | None = None, verify: bool = True) -> ModelFolder:
    """Read a folder made by crosslens or, in layouts that `find_layout` knows, by other tools.

    ``variant`` picks one that the manifest lists, or else ``text_model_VARIANT.onnx`` and its twin (transformers.js's
    quantized, fp16, ...). Where the folder has a manifest, every file's sha256 is checked unless ``verify`` is False.

    Raises `ModelError` for a missing or altered file, naming it, and for graphs and settings that don't fit together.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise ModelError(f"{path} is not a model folder", hint="export a checkpoint to make one", verb="export")
    config = read_json(path / CONFIG)
    manifest = read_json(path / MANIFEST) if (path / MANIFEST).exists() else {}
    listed = (manifest.get("variants") or {}).get(variant) if variant else None
    layout = find_layout(path, None if listed else variant)
    if listed:
        layout = within(layout, path, path / str(variant))
    recorded = dict((listed or manifest)["files"]) if manifest and (listed or variant is None) else {}
    root = path / str(variant) if listed else path
    if recorded and verify:
        verify_files(path, root, recorded)
    graphs = _graphs(layout)
    alone = layout.text_model != layout.vision_model
    text = replace(text_ports(graphs["text"], config), alone=alone)
    transform = vision = sound = audio = None
    if layout.preprocessing is not None:
        transform = parse_transform(layout.preprocessing)
        vision = replace(vision_ports(graphs["image"], transform.output_size), alone=alone)
        _require_comparable(path, text, vision, "pictures", "image")
    if layout.hearing is not None:
        sound = parse_sound(layout.hearing)
        audio = audio_ports(graphs["audio"], sound.shape)
        _require_comparable(path, text, audio, "sounds", "audio")
    joined = read_joined(path)
    if joined is not None and not recorded:
        raise ModelError(
            f"{path} joins parts without a {MANIFEST}, which lists them", hint="export the checkpoint", verb="export"
        )
    settings = _text_settings(layout, config, manifest)
    # A file that a manifest doesn't list has no part in the vectors that its fingerprint stands for.
    prompts = read_prompts(path) if not recorded or PROMPTS in recorded else Prompts()
    return ModelFolder(
        path=path,
        name=str(manifest.get("name") or config.get("_name_or_path") or path.resolve().name),
        fingerprint=_fingerprint((root, path), layout, graphs.values(), recorded, (settings, prompts)),
        text_model=layout.text_model,
        text_ports=text,
        tokenizer=layout.tokenizer,
        text=_fitted(settings, text),
        prompts=prompts,
        vision_model=layout.vision_model,
        vision_ports=vision,
        transform=transform,
        audio_model=layout.audio_model,
        audio_ports=audio,
        sound=sound,
        joined=joined,
        dims=manifest.get("dims"),
        searches=_searches(manifest, listed),
    )


def has_variant(path: Path, variant: str) -> bool:
    """Return whether the folder's manifest lists a ``variant``. Raises `ModelError` for a damaged manifest."""
    return (path / MANIFEST).exists() and variant in (read_json(path / MANIFEST).get("variants") or {})


def allowed_searches(path: Path) -> frozenset[str]:
    """Return the `ModelFolder.searches` of a folder, from its manifest alone. Raises `ModelError` for a damaged one."""
    return _searches(read_json(path / MANIFEST), None) if (path / MANIFEST).exists() else frozenset()


def fingerprint(hashes: dict[str, str]) -> str:
    """Return 16 hex digits of a hash over the files' names and sha256, ordered by name."""
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _graphs(layout: Layout) -> dict[str, Graph]:
    """Return the graphs of the folder's encoders, by what they encode."""
    if layout.text_model == layout.vision_model:
        graphs = dict(zip(("text", "image"), apart(read_graph(layout.text_model)), strict=True))
    else:
        graphs = {"text": read_graph(layout.text_model)}
        if layout.vision_model is not None:
            graphs["image"] = read_graph(layout.vision_model)
    if layout.audio_model is not None:
        graphs["audio"] = read_graph(layout.audio_model)
    return graphs


def _require_comparable(path: Path, text: TextPorts, other: VisionPorts | AudioPorts, things: str, kind: str) -> None:
    if None not in (text.dims, other.dims) and text.dims != other.dims:
        raise ModelError(
            f"{path} can't compare texts and {things}: its text encoder gives {text.dims} numbers, its {kind} encoder "
            f"{other.dims}",
            hint="one of the two graphs lacks its projection; export the checkpoint to a new folder",
        )


def _fingerprint(
    roots: tuple[Path, Path],
    layout: Layout,
    graphs: Iterable[Graph],
    recorded: dict[str, str],
    texts: tuple[TextSettings, Prompts],
) -> str:
    """Return the fingerprint of the manifest's files or, without one, of everything that determines the vectors.

    ``roots`` are the folders that names are relative to, of a variant and of the whole; so a variant has the
    fingerprint that it has in a folder of its own.

    The server plugin computes the same. A manifest names every file, so fingerprints that an index recorded earlier
    stay valid; only weights beside a graph, which earlier manifests left out, are added.
    """
    hashes = dict(recorded)
    files = [graph.path.parent / name for graph in graphs for name in graph.external]
    if not recorded:
        parts = [layout.text_model, layout.vision_model, layout.tokenizer, layout.preprocessor]
        parts += [layout.audio_model, layout.feature_extractor]
        files += [part for part in parts if part is not None]
        settings, prompts = texts
        hashes["text"] = hashlib.sha256(settings.line().encode()).hexdigest()
        if prompts != Prompts():
            hashes["prompts"] = hashlib.sha256(prompts.line().encode()).hexdigest()
    for file in files:
        check_inside(roots[1], file)
        name = file.relative_to(next(root for root in roots if file.is_relative_to(root))).as_posix()
        if not file.is_file():
            raise ModelError(
                f"{file} is missing", hint="a graph keeps its weights in it: copy or export the folder again"
            )
        if name not in hashes:
            hashes[name] = sha256(file)
    return fingerprint(hashes)


def text_settings(config: dict[str, Any], tokenizer_config: dict[str, Any], pad_id: int | None) -> TextSettings:
    """Return the token settings from config.json and tokenizer_config.json; ``pad_id`` is the tokenizer's."""
    text = config.get("text_config") or {}
    of_open_clip = (config.get("text_cfg") or {}).get("context_length")
    limits = [text.get("max_position_embeddings"), tokenizer_config.get("model_max_length"), of_open_clip]
    # transformers writes 1e30 where a tokenizer has no limit.
    lengths = [int(n) for n in limits if isinstance(n, int | float) and 0 < n < 100_000]
    fixed = str(config.get("model_type")) in _FIXED_LENGTH_FAMILIES
    length = min(lengths, default=64 if fixed else 77)
    known = (pad_id, text.get("pad_token_id"), config.get("pad_token_id"))
    side = "left" if tokenizer_config.get("padding_side") == "left" else "right"
    return TextSettings(length, int(next((id for id in known if id is not None), 0)), fixed, side)


def _text_settings(layout: Layout, config: dict[str, Any], manifest: dict[str, Any]) -> TextSettings:
    if "text" in manifest:
        return TextSettings(**manifest["text"])
    file = layout.tokenizer_config
    stated = read_json(file) if file.exists() else {}
    sentences = file.with_name(SENTENCES)
    if layout.vision_model is None and sentences.exists():
        told = read_json(sentences)
        if told.get("do_lower_case"):
            raise ModelError(
                f"{sentences} wants texts in lower case before they are tokenized, which only an export does",
                hint="export the checkpoint",
                verb="export",
            )
        stated["model_max_length"] = told.get("max_seq_length") or stated.get("model_max_length")
    settings = text_settings(config, stated, _pad_id(layout.tokenizer, stated))
    # Where its configuration says so, open_clip cleans texts before tokenizing.
    cleaning = ((config.get("text_cfg") or {}).get("tokenizer_kwargs") or {}).get("clean")
    return replace(settings, canonical=cleaning == "canonicalize")


def _fitted(settings: TextSettings, text: TextPorts) -> TextSettings:
    """Return the settings, with the length of a graph that fixes it."""
    return replace(settings, length=text.length, fixed=True) if text.length else settings


def _pad_id(tokenizer: Path, settings: dict[str, Any]) -> int | None:
    token = settings.get("pad_token")
    name = token.get("content") if isinstance(token, dict) else token
    if not isinstance(name, str):
        return None
    stated = read_json(tokenizer)
    for added in stated.get("added_tokens") or []:
        if added.get("content") == name:
            return int(added["id"])
    model = stated.get("model") or {}
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):
        return next((i for i, (piece, _) in enumerate(vocabulary) if piece == name), None)
    found = (vocabulary or {}).get(name)
    return int(found) if found is not None else None


def _searches(manifest: dict[str, Any], variant: dict[str, Any] | None) -> frozenset[str]:
    """Return the fingerprints that the manifest's relations allow to be searched. A relation holds both ways."""
    relations = manifest.get("relations")
    allowed = {
        each
        for each, relation in (relations.items() if isinstance(relations, dict) else ())
        if isinstance(relation, dict) and relation.get("search") is True
    }
    if variant is None:
        return frozenset(allowed)
    return frozenset({manifest["fingerprint"]} if variant["fingerprint"] in allowed else ())
