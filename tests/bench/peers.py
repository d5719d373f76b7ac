"""Encoders in one table: ours in float32 and int8, PyTorch, OpenVINO, and the libraries that people take instead.

All of ViT-B/32, with the same random weights but for open_clip, which reads others. Each gets texts, and pictures of
224 x 224 in memory, and prepares them itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crosslens.ingest.model.exporting import export
from tests.bench.common import console, in_own_process, peak_rss_mb, rate, show, vit_b_32

_SECONDS, _ROUNDS = 4.0, 2
_COUNT = 32
# Not among the development packages: nothing but this benchmark uses them. Without their own dependencies, which are
# there but for the last ones.
_OPEN_CLIP = ("open_clip_torch", "timm", "torchvision", "ftfy", "wcwidth")
_FASTEMBED = ("fastembed", "py_rust_stemmers", "loguru", "mmh3")
_OPENVINO = ("openvino", "openvino-telemetry")
_WHERE = Path("build/peers")

Encode = Callable[[list[Any]], np.ndarray]
"""Inputs to vectors [inputs, dims]."""


def main() -> None:
    """Prints a table for pictures and one for texts; for each peer its best of several rounds, taken in turn."""
    checkpoint, exported = vit_b_32()
    _install()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_WHERE.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as tmp:
        int8 = Path(tmp) / "int8"
        export(str(checkpoint), int8, precision="int8")
        folders = dict.fromkeys(_PEERS, checkpoint) | {
            "crosslens": exported,
            "crosslens int8": int8,
            "OpenVINO": exported,
            "fastembed": _for_fastembed(exported, Path(tmp)),
        }
        for kind in ("images", "texts"):
            _compare(kind, folders, Path(tmp))


def _compare(kind: str, folders: dict[str, Path], tmp: Path) -> None:
    best: dict[tuple[str, int], dict[str, float]] = {}
    for batch in (1, _COUNT):
        for _ in range(_ROUNDS):
            for peer, folder in folders.items():
                out = tmp / f"{kind}-{peer}.npy"
                result = in_own_process("tests.bench.peers", peer, str(folder), kind, str(batch), str(out))
                if result["rate"] > best.get((peer, batch), {"rate": 0.0})["rate"]:
                    best[peer, batch] = result
    exact = np.load(tmp / f"{kind}-PyTorch.npy")
    rows = []
    for peer in folders:
        made = np.load(tmp / f"{kind}-{peer}.npy")
        cosine = "-" if peer == "open_clip" else f"{float((made * exact).sum(1).min()):.5f}"
        row = [peer]
        for batch in (1, _COUNT):
            ours, this = best["crosslens", batch], best[peer, batch]
            row += [f"{this['rate']:.1f}", f"{this['rate'] / ours['rate']:.2f}x", f"{this['rss']:.0f} MB"]
        rows.append([*row, cosine])
    headings = [f"{kind}/s"]
    for batch in (1, _COUNT):
        headings += [f"{batch} at once", "of ours", "peak RSS"]
    show("ViT-B/32", [*headings, "least cosine"], rows)


def _install() -> None:
    if not _WHERE.is_dir():
        console.print("installing peers into build/peers")
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if uv is None:
            raise RuntimeError("installing the peers needs uv, which `make` brings")
        command = [uv, "pip", "install", "--quiet", "--target", str(_WHERE), "--python", sys.executable, "--no-deps"]
        subprocess.run([*command, *_OPEN_CLIP, *_FASTEMBED, *_OPENVINO], check=True)


def _for_fastembed(exported: Path, tmp: Path) -> Path:
    """Lay a model folder out as fastembed has its own: a folder for each tower."""
    for tower in ("text", "vision"):
        folder = tmp / "fastembed" / tower
        folder.mkdir(parents=True)
        for file in exported.glob("*.json"):
            shutil.copy(file, folder)
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"model_max_length": 77, "pad_token": "<|endoftext|>"})
        )
        (folder / "special_tokens_map.json").write_text("{}")
        shutil.copy(exported / "onnx" / f"{tower}_model.onnx", folder / "model.onnx")
    return tmp / "fastembed"


def _crosslens(folder: Path, kind: str) -> Encode:
    from crosslens.ingest.model.encoder import Encoder

    encoder = Encoder(folder, verify=False)
    if kind == "texts":
        return encoder.encode_texts
    return lambda pictures: encoder.encode_images(pictures)


def _torch(folder: Path, kind: str, *, bfloat16: bool = False) -> Encode:
    import torch
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    model = CLIPModel.from_pretrained(folder, dtype=torch.bfloat16 if bfloat16 else torch.float32).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), CLIPImageProcessor.from_pretrained(folder)

    def encode(inputs: list[Any]) -> np.ndarray:
        with torch.inference_mode():
            if kind == "texts":
                output = model.get_text_features(
                    **tokenizer(inputs, padding=True, truncation=True, return_tensors="pt")
                )
            else:
                pixels = processor(inputs, return_tensors="pt")["pixel_values"]
                output = model.get_image_features(pixel_values=pixels.to(model.dtype))
            vectors = output if isinstance(output, torch.Tensor) else output.pooler_output
            return np.asarray(vectors.float().numpy())

    return encode


def _openvino(folder: Path, kind: str) -> Encode:
    """OpenVINO as it is, which takes bfloat16 where the processor has it."""
    import openvino

    from crosslens.ingest.model.encoder import Encoder

    prepared = Encoder(folder, verify=False)
    name = "text" if kind == "texts" else "vision"
    model = openvino.Core().compile_model(folder / "onnx" / f"{name}_model.onnx", "CPU")

    def encode(inputs: list[Any]) -> np.ndarray:
        if kind == "texts":
            return np.asarray(model(_tokens(prepared, inputs, {each.any_name for each in model.inputs}))[0])
        pixels = prepared.folder.transform.normalized(np.stack([prepared.prepare_image(each) for each in inputs]))
        return np.asarray(model({"pixel_values": pixels})[0])

    return encode


def _tokens(encoder: Any, texts: list[str], names: set[str]) -> dict[str, np.ndarray]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(encoder.folder.path / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=encoder.folder.text.pad_id)
    tokenizer.enable_truncation(77)
    made = tokenizer.encode_batch(texts)
    inputs = {"input_ids": [each.ids for each in made], "attention_mask": [each.attention_mask for each in made]}
    return {name: np.array(inputs[name], dtype=np.int64) for name in names}


def _sentence_transformers(folder: Path, _: str) -> Encode:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda inputs: np.asarray(model.encode(inputs, batch_size=_COUNT, show_progress_bar=False))


def _open_clip(_: Path, kind: str) -> Encode:
    import open_clip
    import torch

    model, *_, prepare = open_clip.create_model_and_transforms("ViT-B-32-quickgelu", pretrained=None)
    model.eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")

    def encode(inputs: list[Any]) -> np.ndarray:
        with torch.inference_mode():
            if kind == "texts":
                return np.asarray(model.encode_text(tokenizer(inputs)).numpy())
            return np.asarray(model.encode_image(torch.stack([prepare(each) for each in inputs])).numpy())

    return encode


def _fastembed(folder: Path, kind: str) -> Encode:
    from fastembed import ImageEmbedding, TextEmbedding

    if kind == "texts":
        texts = TextEmbedding("Qdrant/clip-ViT-B-32-text", specific_model_path=str(folder / "text"))
        return lambda inputs: np.stack(list(texts.embed(inputs, batch_size=_COUNT)))
    images = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=str(folder / "vision"))
    return lambda inputs: np.stack(list(images.embed(inputs, batch_size=_COUNT)))


_PEERS: dict[str, Callable[[Path, str], Encode]] = {
    "crosslens": _crosslens,
    "crosslens int8": _crosslens,
    "PyTorch": _torch,
    "PyTorch bfloat16": lambda folder, kind: _torch(folder, kind, bfloat16=True),
    "OpenVINO": _openvino,
    "sentence-transformers": _sentence_transformers,
    "open_clip": _open_clip,
    "fastembed": _fastembed,
}


def _inputs(kind: str) -> list[Any]:
    rng = np.random.default_rng(0)
    if kind == "images":
        # Coarse noise, whose patches differ as those of photographs do.
        coarse = rng.integers(0, 256, (_COUNT, 14, 14, 3), dtype=np.uint8)
        return [Image.fromarray(each).resize((224, 224), Image.Resampling.BICUBIC) for each in coarse]
    words = ("a", "photo", "of", "cat", "dog", "blue", "running", "shoes", "and", "new")
    return [" ".join(rng.choice(words, 10)) for _ in range(_COUNT)]


def _run(peer: str, folder: str, kind: str, batch: str, out: str) -> None:
    encode, given, size = _PEERS[peer](Path(folder), kind), _inputs(kind), int(batch)
    vectors = np.asarray(encode(given), dtype=np.float32)
    np.save(out, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    turn = 0

    def work() -> int:
        nonlocal turn
        some = [given[(turn + i) % _COUNT] for i in range(size)]
        turn += size
        return len(encode(some))

    measured = rate(work, _SECONDS)
    print(json.dumps({"rate": measured, "rss": peak_rss_mb()}))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        _run(*sys.argv[1:])
