"""Speaks the demo's names and keywords with free speech synthesisers, to teach and to test its audio encoder.

    python -m crosslens.demo.speech --out OUT [--seed 7] [--threads 1]

It needs espeak-ng, flite and festival with its voices: Debian's packages espeak-ng, flite, festival,
festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts. All speech is synthetic. Two voices, and a share of the
names, are held out: no clip that the encoder is trained on has that voice, or says that name.

OUT gets the texts' phonemes, and a file for every five hundred clips (`Clips`), so that training can begin before the
last is spoken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosslens.demo.voices import HELD_OUT, VOICES, Manner, Samples, manner, phonemes, say, spoken

SEED = 7
NAMES = Path("tests/data/names.jsonl")
# Clips in one file, and how often the training voices say each name and each keyword.
PART, NAME_TIMES, KEYWORD_TIMES, PHRASES = 500, 10, 3, 6000
HELD_OUT_SHARE = 0.15


@dataclass(frozen=True)
class Script:
    """What is said: ``texts`` are names (the first `names` of them), keywords, and phrases made of their words.
    ``held_out`` holds the rows of what training voices don't say: names, and keywords that sound the same."""

    texts: list[str]
    names: int
    keywords: int
    held_out: NDArray[np.int64]


@dataclass(frozen=True)
class Clips:
    """Spoken clips: ``samples`` int16 of all, clip i between ``ends[i - 1]`` and ``ends[i]``; its text's row in the
    script, and its voice's in `VOICES`."""

    samples: Samples
    ends: NDArray[np.int64]
    text: NDArray[np.int32]
    voice: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> Samples:
        return self.samples[self.ends[row - 1] if row else 0 : self.ends[row]]

    def save(self, path: Path) -> None:
        """Write to ``path``, whole or not at all."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, samples=self.samples, ends=self.ends, text=self.text, voice=self.voice)
        part.rename(path)

    @staticmethod
    def load(path: Path) -> Clips:
        """Return what `save` wrote."""
        with np.load(path) as file:
            return Clips(file["samples"], file["ends"], file["text"], file["voice"])


def script(rows: list[dict[str, Any]], seed: int) -> Script:
    """Return what is said about the catalogue's ``rows``: {id, name, keywords}."""
    names = [row["name"] for row in rows]
    held_out = [i for i, row in enumerate(rows) if _share_of(row["id"]) < HELD_OUT_SHARE]
    never = [f" {spoken(names[i]).lower()} " for i in held_out]
    keywords = sorted({k for row in rows for k in row["keywords"] if re.search(r"\w", spoken(k))} - set(names))
    known = [name for i, name in enumerate(names) if i not in set(held_out)]
    rng = np.random.default_rng(seed)
    phrases: dict[str, None] = {}
    while len(phrases) < PHRASES:
        phrase = _phrase(known, keywords, rng)
        if not any(name in f" {spoken(phrase).lower()} " for name in never) and phrase not in names:
            phrases[phrase] = None
    texts = [*names, *keywords, *phrases]
    sounds = {spoken(names[row]).lower() for row in held_out}
    unsaid = [row for row, text in enumerate(texts) if spoken(text).lower() in sounds]
    return Script(texts, len(names), len(keywords), np.array(unsaid, dtype=np.int64))


def _share_of(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


def _phrase(names: list[str], keywords: list[str], rng: np.random.Generator) -> str:
    """Return a name with one of its words exchanged, or with a keyword before or after it."""
    words = names[int(rng.integers(len(names)))].split()
    others = keywords if rng.random() < 0.5 else names
    other = others[int(rng.integers(len(others)))].split()
    if len(words) > 1 and rng.random() < 0.6:
        words[int(rng.integers(len(words)))] = other[int(rng.integers(len(other)))]
    else:
        words = [*words, *other] if rng.random() < 0.5 else [*other, *words]
    return " ".join(words[:6])


def clips(said: Script, text: NDArray[np.int32], voice: NDArray[np.int32], seed: int) -> Clips:
    """Speak the texts of the script's rows ``text``, each by its ``voice``; training voices in manners of their own."""
    made: list[Samples] = [np.empty(0, np.int16)] * len(text)
    for row, speaker in enumerate(VOICES):
        mine = np.flatnonzero(voice == row)
        rng = np.random.default_rng([seed, row])
        jobs = [(spoken(said.texts[text[i]]), manner(speaker, rng) if speaker.share else Manner()) for i in mine]
        if jobs:
            for i, samples in zip(mine, say(speaker, jobs), strict=True):
                made[i] = samples
    return Clips(np.concatenate(made), np.cumsum([len(samples) for samples in made]), text, voice)


def order(said: Script, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the texts and voices of all training clips, mixed."""
    times = np.zeros(len(said.texts), dtype=np.int64)
    times[: said.names] = NAME_TIMES
    times[said.names : said.names + said.keywords] = KEYWORD_TIMES
    times[said.names + said.keywords :] = 1
    times[said.held_out] = 0
    text = rng.permutation(np.repeat(np.arange(len(said.texts)), times))
    voice = rng.choice(len(VOICES), len(text), p=[v.share for v in VOICES])
    return text.astype(np.int32), voice.astype(np.int32)


def read_script(seed: int) -> Script:
    """Return the script of the catalogue that the tests know (names and keywords of Unicode CLDR)."""
    return script([json.loads(line) for line in NAMES.read_text(encoding="utf-8").splitlines()], seed)


def main() -> None:
    """Speak all, and skip what is there already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    said = read_script(arguments.seed)
    spelt = arguments.out / "phonemes.json"
    if not spelt.exists():
        spelt.write_text(json.dumps(phonemes(said.texts)))
    text, voice = order(said, np.random.default_rng(arguments.seed))
    names = np.arange(said.names, dtype=np.int32)
    jobs = [
        (f"train-{start // PART:03}", text[start : start + PART], voice[start : start + PART], start)
        for start in range(0, len(text), PART)
    ]
    held_out = [(f"held-out-{row}", names, np.full(len(names), row, np.int32), 0) for row in HELD_OUT]
    jobs[4:4] = held_out

    def make(job: tuple[str, NDArray[np.int32], NDArray[np.int32], int]) -> None:
        name, texts, voices, start = job
        path = arguments.out / f"{name}.npz"
        if not path.exists():
            clips(said, texts, voices, arguments.seed * 1_000_003 + start).save(path)
            print(name, flush=True)

    with ThreadPoolExecutor(arguments.threads) as pool:
        list(pool.map(make, jobs))


if __name__ == "__main__":
    main()
