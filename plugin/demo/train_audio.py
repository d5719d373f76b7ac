"""Trains the demo's audio encoder on spoken names, to meet the demo model's text encoder, which stays as it is.

    python -m crosslens.demo.train_audio --clips CLIPS --out OUT [--steps 24000] [--seed 7] [--threads 1]

CLIPS is what `crosslens.demo.speech` wrote. The encoder never sees a picture: it reaches them through the space that
texts and pictures share. The objective has three parts: which of all texts was said (cross entropy over their vectors,
Radford et al. 2021, arXiv:2103.00020) and how far from its vector; its phonemes, read in the middle of the encoder, and
its letters, read at the top, both by connectionist temporal classification (Graves et al. 2006). Voices and names that
are held out are read only for the figures.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crosslens.demo.build import DATA
from crosslens.demo.heard import Heard, augment, batches, load, stacked
from crosslens.demo.hearing import LETTERS, AudioTower
from crosslens.demo.speech import NAMES, SEED, Script, read_script
from crosslens.demo.voices import HELD_OUT, VOICES, spoken
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL

# Texts whose vectors are this close say the same: neither is a wrong answer to the other.
SAME = 0.95
# Cosines are multiplied by this before the cross entropy.
SCALE = 20.0


@dataclass(frozen=True)
class Labels:
    """What clips of each text are spelt: label numbers from 1; 0 is the blank."""

    sounds: list[Tensor]
    letters: list[Tensor]
    phonemes: int


def label(said: Script, spelt: list[list[str]]) -> Labels:
    """Return the labels of all texts, whose phonemes are ``spelt``."""
    known = {p: i for i, p in enumerate(sorted({p for text in spelt for p in text}), 1)}
    letters = {c: i for i, c in enumerate(LETTERS, 1)}
    return Labels(
        [torch.tensor([known[p] for p in text], dtype=torch.long) for text in spelt],
        [torch.tensor([letters[c] for c in spoken(t).lower() if c in letters], dtype=torch.long) for t in said.texts],
        len(known) + 1,
    )


@dataclass(frozen=True)
class Targets:
    """What clips should be near to: ``vectors`` float32 [texts, dims] of all texts. ``barred`` [texts, texts] says what
    is no wrong answer to each: texts that say the same, and names that are held out."""

    vectors: Tensor
    barred: Tensor

    @staticmethod
    def of(vectors: Tensor, held_out: np.ndarray) -> Targets:
        barred = vectors @ vectors.T > SAME
        barred[:, held_out] = True
        return Targets(vectors, barred.fill_diagonal_(False))


def objective(
    tower: AudioTower, clips: Tensor, text: Tensor, labels: Labels, targets: Targets
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch, and its parts."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made, sounds, letters, lengths = tower.spelt(clips[:, None])
    logits = (SCALE * made @ targets.vectors.T).masked_fill(targets.barred[text], -1e4)
    which, apart = F.cross_entropy(logits, text), (1 - (made * targets.vectors[text]).sum(1)).mean()
    spell = []
    for logit, spelt in ((sounds, labels.sounds), (letters, labels.letters)):
        wanted = [spelt[i] for i in text.tolist()]
        sizes = torch.tensor([len(w) for w in wanted])
        log = F.log_softmax(logit.float(), -1).transpose(0, 1)
        spell.append(F.ctc_loss(log, torch.cat(wanted), lengths, sizes, zero_infinity=True))
    loss = which + 4 * apart + spell[0] + 0.5 * spell[1]
    parts = {"which": which, "apart": apart, "sounds": spell[0], "letters": spell[1]}
    return loss, {name: round(part.item(), 3) for name, part in parts.items()}


@torch.no_grad()
def encode(tower: nn.Module, heard: list[np.ndarray]) -> np.ndarray:
    """Return float32 [clips, dims], unit length."""
    tower.eval()
    order = np.argsort([len(f) for f in heard])
    out: list[Tensor] = []
    for start in range(0, len(order), 64):
        out.append(tower(stacked([heard[i] for i in order[start : start + 64]])[0][:, None]))
    vectors = np.empty((len(heard), out[0].shape[1]), np.float32)
    vectors[order] = torch.cat(out).numpy()
    tower.train()
    return vectors


def recall(queries: np.ndarray, gallery: np.ndarray, right: np.ndarray, k: int) -> float:
    scores = queries @ gallery.T
    return float(((scores > scores[np.arange(len(queries)), right][:, None]).sum(1) < k).mean())


def evaluate(
    tower: nn.Module, clips: dict[str, Heard], said: Script, names: np.ndarray, pictures: np.ndarray
) -> dict[str, float]:
    """Return recall of the written name and of the picture by each held-out voice, of all names and of those that were
    never spoken in training."""
    figures = {}
    for voice, heard in clips.items():
        made = encode(tower, heard.features)
        never = np.isin(heard.text, said.held_out)
        for kind, rows in (("all", np.ones(len(never), bool)), ("never spoken", never)):
            for target, gallery in (("name", names), ("picture", pictures)):
                for k in (1, 10):
                    value = recall(made[rows], gallery, heard.text[rows], k)
                    figures[f"{voice}, {kind}, {target} R@{k}"] = round(value, 4)
    return figures


def gallery(encoder: Encoder) -> np.ndarray:
    """Return the vectors of the demo's pictures of each name, float32 [names, dims]."""
    rows = [json.loads(line) for line in (DATA / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()]
    of = {row["id"]: DATA / row["image"] for row in rows}
    ids = [json.loads(line)["id"] for line in NAMES.read_text(encoding="utf-8").splitlines()]
    return encoder.encode_images([of[i] for i in ids])


def read_targets(path: Path, said: Script) -> tuple[Tensor, np.ndarray]:
    """Return the demo model's vectors of all texts and of the names' pictures, kept in ``path``."""
    if not path.exists():
        encoder = Encoder(DEMO_MODEL)
        np.savez(path, texts=encoder.encode_texts(said.texts), pictures=gallery(encoder))
    with np.load(path) as file:
        return torch.from_numpy(file["texts"]), file["pictures"]


class Training:
    """The tower, the average of its weights, and how far its training has come, kept in ``path``."""

    def __init__(self, tower: AudioTower, path: Path, steps: int, seed: int, peak: float):
        self.tower, self.path, self.steps, self.peak, self.step = tower, path, steps, peak, 0
        plain = {id(p) for p in tower.parameters() if p.ndim <= 1}
        groups = [
            {"params": [p for p in tower.parameters() if id(p) not in plain], "weight_decay": 0.05},
            {"params": [p for p in tower.parameters() if id(p) in plain], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))
        averaged = torch.optim.swa_utils.get_ema_multi_avg_fn(0.997)
        self.average = torch.optim.swa_utils.AveragedModel(tower, multi_avg_fn=averaged)
        if path.exists():
            kept = torch.load(path, weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(kept[name])
            self.step = int(kept["step"])
        self.generator = torch.Generator().manual_seed(seed + self.step)
        self.rng = np.random.default_rng([seed, self.step])

    @property
    def _parts(self) -> dict[str, Any]:
        return {"tower": self.tower, "average": self.average, "optimiser": self.optimiser}

    def save(self) -> None:
        """Keep all that going on needs."""
        part = self.path.with_suffix(".part")
        torch.save({**{name: each.state_dict() for name, each in self._parts.items()}, "step": self.step}, part)
        part.rename(self.path)

    def learn(self, loss: Tensor) -> None:
        """Take a step: warmed up, at full speed, then down to nothing in the last third."""
        left = min(1.0, 3 * (self.steps - self.step) / self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.peak * min(1.0, (self.step + 1) / 200) * left
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.tower.parameters(), 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.tower)
        self.step += 1


def train(clips: Path, out: Path, steps: int, seed: int, batch: int = 64, peak: float = 1.5e-3) -> dict[str, float]:
    """Train until ``steps`` steps are done, from where an earlier call left off, and write the averaged weights to
    ``out``; return the held-out figures. Clips that are spoken meanwhile are taken up at the next pass."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    said = read_script(seed)
    labels = label(said, json.loads((clips / "phonemes.json").read_text()))
    vectors, pictures = read_targets(out / "targets.npz", said)
    targets = Targets.of(vectors, said.held_out)
    tower = AudioTower(labels.phonemes, len(LETTERS) + 1, vectors.shape[1])
    training = Training(tower, out / "training.pt", steps, seed, peak)
    print(f"{sum(p.numel() for p in tower.parameters()):,} parameters, {labels.phonemes} phonemes", flush=True)
    cache: dict[Path, Heard] = {}
    spoken_by = {str(VOICES[row]): clips / f"held-out-{row}.npz" for row in HELD_OUT}
    started, first = time.monotonic(), training.step

    def figures(every: int) -> dict[str, float]:
        held_out = {voice: load([path], cache) for voice, path in spoken_by.items() if path.exists()}
        held_out = {voice: Heard(h.features[::every], h.text[::every]) for voice, h in held_out.items()}
        return evaluate(training.average.module, held_out, said, vectors[: said.names].numpy(), pictures)

    while training.step < steps:
        heard = load(sorted(clips.glob("train-*.npz")), cache).without(said.held_out)
        print(f"{len(heard.text)} clips, {heard.lengths.sum() / 6000:.0f} minutes", flush=True)
        for rows in batches(heard.lengths, batch, training.rng)[: steps - training.step]:
            views = augment(*stacked([heard.features[i] for i in rows]), training.generator)
            loss, parts = objective(tower, views, torch.from_numpy(heard.text[rows]), labels, targets)
            training.learn(loss)
            if training.step % 25 == 0:
                pace = (time.monotonic() - started) / (training.step - first)
                print(f"step {training.step}/{steps} {parts} {pace:.2f} s a step", flush=True)
            if training.step % 250 == 0:
                training.save()
                print(json.dumps(figures(every=6)), flush=True)
    made = figures(every=1)
    kept = {"tower": training.average.module.state_dict(), "phonemes": labels.phonemes, "dims": vectors.shape[1]}
    torch.save(kept, out / "tower.pt")
    (out / "figures.json").write_text(json.dumps(made, indent=2))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(train(arguments.clips, arguments.out, arguments.steps, arguments.seed), indent=2))


if __name__ == "__main__":
    main()
