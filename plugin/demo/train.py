"""Trains the demo's CLIP model from scratch, on the emoji drawings of several vendors.

    python -m crosslens.demo.train --out OUT [--cache CACHE] [--steps 5200] [--seed 7]

The model is transformers' own CLIPModel, small; the objective is CLIP's contrastive loss (Radford et al. 2021,
arXiv:2103.00020, figure 3) with two changes that a data set of repeated concepts needs: a caption that is true
of several drawings in the batch has them all as targets, and drawings of one concept by two vendors attract
each other (supervised contrastive loss, Khosla et al. 2020, arXiv:2004.11362, equation 2). The drawings of
`vendors.HELD_OUT` are read only for the figures printed at the end.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from transformers import CLIPModel

from crosslens.demo import vendors
from crosslens.demo.drawings import (
    CONTEXT,
    PIXELS,
    Captions,
    Drawings,
    build_model,
    load_drawings,
    tokenise,
    train_tokenizer,
)
from crosslens.ingest.model.transform import parse_transform
from crosslens.ingest.sources.images import to_rgb

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PREPROCESSOR: dict[str, object] = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": PIXELS},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": PIXELS, "width": PIXELS},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
}
# Concepts whose words name a colour or a direction must keep them under augmentation.
COLOURED = re.compile(r"\b(red|orange|yellow|green|blue|purple|brown|black|white|pink|grey|heart|circle|square)\b")
DIRECTED = re.compile(r"\b(left|right|leftwards|rightwards|clockwise|east|west|clock|oclock|thirty|reverse|arrow)\b")


def augment(pixels: Tensor, may_recolour: Tensor, may_flip: Tensor, generator: torch.Generator) -> Tensor:
    """Return random views, float [n, 3, 48, 48] in 0..1, of uint8 RGBA drawings [n, 4, 64, 64].

    Geometry, colour, soft shading (a drawing in 3D has it, a flat one not), blur, a background, an erased patch.
    """
    n = len(pixels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    def chance(p: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) < p

    angle = torch.randn(n, generator=generator).clamp(-2, 2) * 0.12
    scale, aspect = uniform(0.85, 1.3), uniform(0.92, 1.08)
    flip = torch.where(may_flip & chance(0.35), -1.0, 1.0)
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = torch.cos(angle) * scale * aspect * flip, -torch.sin(angle) * scale
    matrix[:, 1, 0], matrix[:, 1, 1] = torch.sin(angle) * scale * flip, torch.cos(angle) * scale / aspect
    matrix[:, :, 2] = uniform(-0.12, 0.12, 2)
    image = pixels.float() / 255
    image = torch.cat([image[:, :3] * image[:, 3:], image[:, 3:]], 1)
    grid = F.affine_grid(matrix, [n, 4, PIXELS, PIXELS], align_corners=False)
    image = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    colour, alpha = image[:, :3], image[:, 3:]

    # Hue rotation about the grey axis, saturation, contrast and brightness as one colour matrix.
    hue = torch.randn(n, generator=generator) * 0.25
    hue = torch.where(may_recolour & chance(0.2), uniform(-math.pi, math.pi), hue)
    grey = torch.full((3, 3), 1 / 3)
    skew = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = torch.cos(hue)[:, None, None], torch.sin(hue)[:, None, None]
    rotation = cos * torch.eye(3) + (1 - cos) * grey + sin * skew
    saturation = torch.where(may_recolour & chance(0.12), torch.zeros(n), uniform(0.5, 1.5))[:, None, None]
    mix = (saturation * torch.eye(3) + (1 - saturation) * grey) @ rotation
    contrast = uniform(0.7, 1.3, 1, 1, 1)
    colour = (
        torch.einsum("nij,njhw->nihw", mix, colour) * contrast
        + ((1 - contrast) * 0.5 + uniform(-0.1, 0.1, 1, 1, 1)) * alpha
    )

    axis = torch.linspace(-1, 1, PIXELS)
    ramp = uniform(-1, 1, 1, 1) * axis[None, :, None] + uniform(-1, 1, 1, 1) * axis[None, None, :]
    tint = uniform(-0.3, 0.3, 3, 1, 1) + uniform(-0.3, 0.3, 1, 1, 1)
    colour = torch.where(chance(0.6, 1, 1, 1), colour * (1 + ramp[:, None] * tint), colour)

    white = chance(0.75, 1, 1, 1)
    background = torch.where(white, torch.ones(1), uniform(0.0, 1.0, 3, 1, 1))
    image = colour.clamp(0, 1).minimum(alpha) + (1 - alpha) * background
    image = torch.where(chance(0.25, 1, 1, 1), F.avg_pool2d(image, 3, 1, 1, count_include_pad=False), image)
    erase = chance(0.3, 1, 1)
    top, left, side = uniform(0, 0.8, 1, 1), uniform(0, 0.8, 1, 1), uniform(0.1, 0.3, 1, 1)
    unit = torch.linspace(0, 1, PIXELS)
    inside = (unit[None, :, None] > top) & (unit[None, :, None] < top + side)
    inside = inside & (unit[None, None, :] > left) & (unit[None, None, :] < left + side) & erase
    return torch.where(inside[:, None], uniform(0, 1, 3, 1, 1), image)


def normalize(image: Tensor) -> Tensor:
    return (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def flatten(drawings: Tensor) -> Tensor:
    """Return the encoder's own view of uint8 RGBA drawings, float [n, 3, 48, 48]."""
    transform = parse_transform(PREPROCESSOR)
    rows = [transform(to_rgb(Image.fromarray(row, "RGBA"))) for row in drawings.numpy().transpose(0, 2, 3, 1)]
    return torch.from_numpy(np.stack(rows))


def contrastive(model: CLIPModel, pixels: Tensor, ids: Tensor, mask: Tensor, truth: Tensor) -> Tensor:
    """Return CLIP's loss with several true pairs a row, plus attraction between two drawings of one concept.

    ``pixels`` holds two drawings of each of n concepts (rows i and i + n), ``ids`` n captions.
    """
    n = len(ids)
    image = F.normalize(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output), dim=-1)
    text = model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
    text = F.normalize(text, dim=-1)
    logits = model.logit_scale.exp().clamp(max=100) * image @ text.T
    truth = torch.cat([truth, truth]).float()
    to_text = -(F.log_softmax(logits, 1) * truth).sum(1) / truth.sum(1)
    to_image = -(F.log_softmax(logits, 0) * truth).sum(0) / truth.sum(0)
    alike = image @ image.T / 0.08
    alike.fill_diagonal_(-1e4)
    pair = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return to_text.mean() + to_image.mean() + 0.5 * F.cross_entropy(alike, pair)


@torch.no_grad()
def embed(model: CLIPModel, pixels: Tensor) -> Tensor:
    parts = [model.visual_projection(model.vision_model(pixel_values=p).pooler_output) for p in pixels.split(256)]
    return F.normalize(torch.cat(parts), dim=-1)


@torch.no_grad()
def evaluate(
    model: CLIPModel, tokenizer: Tokenizer, concepts: list[vendors.Concept], held_out: Drawings, query: Drawings
) -> dict[str, float]:
    """Return the recall of the right held-out drawing by its name and by another vendor's drawing of it."""
    model.eval()
    gallery = embed(model, flatten(held_out.pixels))
    ids, mask = tokenise(tokenizer, [concepts[i].name for i in held_out.concept.tolist()])
    text = F.normalize(
        model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output), dim=-1
    )
    place = {c: i for i, c in enumerate(held_out.concept.tolist())}
    kept = [i for i, c in enumerate(query.concept.tolist()) if c in place]
    images = embed(model, flatten(query.pixels[kept]))
    wanted = torch.tensor([place[c] for c in query.concept[kept].tolist()])
    figures = {"concepts": float(len(gallery))}
    for name, queries, right in (
        ("text_to_image", text, torch.arange(len(gallery))),
        ("image_to_image", images, wanted),
    ):
        scores = queries @ gallery.T
        rank = (scores > scores.gather(1, right[:, None])).sum(1)
        for k in (1, 10):
            figures[f"{name}_recall@{k}"] = round((rank < k).float().mean().item(), 4)
    model.train()
    return figures


def save(model: CLIPModel, tokenizer: Tokenizer, out: Path) -> None:
    """Write a folder that transformers' CLIPModel, CLIPImageProcessor and tokenizers load; weights in float16."""
    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": CONTEXT,
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
            },
            indent=2,
        )
    )
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2))


def train(out: Path, cache: Path, steps: int, seed: int, batch: int = 128, peak: float = 1e-3) -> dict[str, float]:
    """Train for ``steps`` steps and write the averaged weights to ``out``; return the held-out figures."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    concepts = vendors.concepts(cache)
    sets = [load_drawings(v, concepts, cache) for v in vendors.TRAIN_VENDORS]
    pixels, owner = torch.cat([s.pixels for s in sets]), torch.cat([s.concept for s in sets])
    held_out = load_drawings(vendors.HELD_OUT, concepts, cache)
    query = load_drawings(vendors.QUERY_VENDOR, concepts, cache)
    drawings_of = [np.flatnonzero(owner.numpy() == row) for row in range(len(concepts))]
    usable = np.array([row for row, found in enumerate(drawings_of) if len(found) > 1])
    texts = [" ".join((c.name, *c.names, *c.keywords)) for c in concepts]
    recolour = torch.tensor([not COLOURED.search(c.name.lower()) for c in concepts])
    flippable = torch.tensor([not DIRECTED.search(t.lower().replace("’", "")) for t in texts]) & torch.tensor(
        [c.category not in ("symbols", "people & body") for c in concepts]
    )
    tokenizer = train_tokenizer(texts)
    captions = Captions(concepts, tokenizer, rng)
    model = build_model(tokenizer)
    print(f"{len(concepts)} concepts, {len(pixels)} drawings, {model.num_parameters():,} parameters", flush=True)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=peak, betas=(0.9, 0.98)
    )
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
    started, order = time.monotonic(), np.empty(0, dtype=np.int64)
    for step in range(steps):
        if len(order) < batch:
            order = np.concatenate([order, rng.permutation(usable)])
        rows, order = order[:batch], order[batch:]
        chosen = np.array([rng.choice(drawings_of[row], 2, replace=False) for row in rows])
        picked = torch.from_numpy(chosen.T.reshape(-1))
        two = torch.from_numpy(np.concatenate([rows, rows]))
        views = normalize(augment(pixels[picked], recolour[two], flippable[two], generator))
        ids, mask, truth = captions.draw(torch.from_numpy(rows))
        rate = peak * min(1.0, (step + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = contrastive(model, views, ids, mask, truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(model)
        if step % 50 == 49:
            line = f"step {step + 1}/{steps} loss {loss.item():.3f} {time.monotonic() - started:.0f} s"
            if step % 250 == 249:
                line += f" {evaluate(average.module, tokenizer, concepts, held_out, query)}"
            print(line, flush=True)
    figures = evaluate(average.module, tokenizer, concepts, held_out, query)
    save(average.module, tokenizer, out)
    (out / "figures.json").write_text(json.dumps(figures, indent=2))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "crosslens" / "emoji")
    parser.add_argument("--steps", type=int, default=5200)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    print(json.dumps(train(arguments.out, arguments.cache, arguments.steps, arguments.seed), indent=2))


if __name__ == "__main__":
    main()
