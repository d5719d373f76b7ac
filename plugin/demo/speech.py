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
import io
import json
import re
import subprocess
import tempfile
import unicodedata
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
SEED = 7
NAMES = Path("tests/data/names.jsonl")
# Clips in one file, and how often the training voices say each name and each keyword.
PART, NAME_TIMES, KEYWORD_TIMES, PHRASES = 500, 10, 3, 6000
HELD_OUT_SHARE = 0.15
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
# Of espeak-ng's timbres those that sound like people.
TIMBRES = (
    *("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"),
    *("klatt", "klatt2", "klatt3", "klatt4", "klatt5", "Andy", "Annie", "Alicia", "Denis", "Diogo", "Gene", "Gene2"),
    *("Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "adam", "anika", "antonio"),
    *("belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "grandma", "grandpa", "gustave", "iven"),
    *("john", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob"),
    *("robert", "sandro", "shelby", "steph", "travis", "victor", "zac"),
)
Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Voice:
    """A voice of a synthesiser; ``share`` is how much of the training speech it says (0: none, it is held out)."""

    engine: str
    name: str
    share: float

    def __str__(self) -> str:
        return f"{self.engine} {self.name}"


VOICES = (
    Voice("espeak-ng", "en", 0.40),
    Voice("flite", "rms", 0.16),
    Voice("flite", "awb", 0.16),
    Voice("flite", "kal16", 0.08),
    Voice("flite", "kal", 0.03),
    Voice("festival", "kal_diphone", 0.05),
    Voice("festival", "ked_diphone", 0.12),
    Voice("flite", "slt", 0.0),
    Voice("festival", "cmu_us_slt_arctic_hts", 0.0),
)
HELD_OUT = tuple(row for row, voice in enumerate(VOICES) if not voice.share)


@dataclass(frozen=True)
class Manner:
    """How a sentence is said: ``speed`` and ``pitch`` against the voice's own, and ``size``, by which the recording is
    played faster, which moves the formants as a shorter vocal tract does. ``timbre`` is espeak-ng's."""

    speed: float = 1.0
    pitch: float = 1.0
    size: float = 1.0
    timbre: str = ""


@dataclass(frozen=True)
class Script:
    """What is said: ``texts`` are names (the first `names` of them), keywords, and phrases made of their words.
    ``held_out`` holds the rows of names that training voices don't say."""

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


def spoken(text: str) -> str:
    """Return a text as synthesisers can read it: letters, digits, and little else."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("&", " and ")
    text = text.replace("#", " hash ").replace("*", " asterisk ")
    return " ".join(re.sub(r"[^\w' -]", " ", text).split())


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
    return Script([*names, *keywords, *phrases], len(names), len(keywords), np.array(held_out, dtype=np.int64))


def _share_of(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


def _phrase(names: list[str], keywords: list[str], rng: np.random.Generator) -> str:
    """Return a name with one of its words exchanged, or with a keyword before or after it."""
    words = str(rng.choice(names)).split()
    other = str(rng.choice(keywords if rng.random() < 0.5 else names)).split()
    if len(words) > 1 and rng.random() < 0.6:
        words[int(rng.integers(len(words)))] = str(rng.choice(other))
    else:
        words = [*words, *other] if rng.random() < 0.5 else [*other, *words]
    return " ".join(words[:6])


def manner(voice: Voice, rng: np.random.Generator) -> Manner:
    """Draw how ``voice`` says something; natural voices also as a smaller speaker, with a higher pitch."""
    if voice.engine == "espeak-ng":
        timbre = f"{rng.choice(ACCENTS)}+{rng.choice(TIMBRES)}"
        return Manner(rng.uniform(0.8, 1.25), rng.uniform(0.5, 1.6), rng.uniform(0.94, 1.06), timbre)
    size = rng.uniform(0.95, 1.25)
    return Manner(rng.uniform(0.8, 1.2), float(np.clip(size**3 * rng.uniform(0.8, 1.15), 0.8, 1.9)), size)


def say(voice: Voice, jobs: list[tuple[str, Manner]]) -> list[Samples]:
    """Return what ``voice`` says of each text in its manner, int16 [n] at `RATE`, without the silence around it."""
    if voice.engine == "festival":
        made = _festival(voice.name, jobs)
    elif voice.engine == "flite":
        made = [_flite(voice.name, text, how) for text, how in jobs]
    else:
        made = [_espeak(text, how) for text, how in jobs]
    return [trimmed(resampled(*_samples(raw), how.size)) for raw, (_, how) in zip(made, jobs, strict=True)]


def _espeak(text: str, how: Manner) -> bytes:
    words = str(int(160 * how.speed / how.size))
    pitch = str(int(np.clip(50 * how.pitch, 5, 95)))
    command = ["espeak-ng", "-v", how.timbre, "-s", words, "-p", pitch, "--stdout", text]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _flite(name: str, text: str, how: Manner) -> bytes:
    # Clustergen voices know a shift of pitch, diphone voices a mean.
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        shift = {"f0_shift": how.pitch / how.size, "int_f0_target_mean": 100 * how.pitch / how.size}
        settings = {**shift, "duration_stretch": how.size / how.speed}
        if name == "slt":
            del settings["int_f0_target_mean"]
        command = ["flite", "-voice", name, "-t", text, "-o", file.name]
        for key, value in settings.items():
            command += ["--setf", f"{key}={value:.3f}"]
        subprocess.run(command, check=True, capture_output=True)
        return Path(file.name).read_bytes()


def _festival(name: str, jobs: list[tuple[str, Manner]]) -> list[bytes]:
    lines = [f"(voice_{name})"]
    with tempfile.TemporaryDirectory() as folder:
        for row, (text, how) in enumerate(jobs):
            mean = 105 * how.pitch / how.size
            if name.endswith("_diphone"):
                lines.append(
                    f"(set! int_lr_params '((target_f0_mean {mean:.1f}) (target_f0_std 14) (model_f0_mean 170)"
                    " (model_f0_std 34)))"
                )
                lines.append(f"(Parameter.set 'Duration_Stretch {how.size / how.speed:.3f})")
            lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{folder}/{row}.wav")')
        (Path(folder) / "all.scm").write_text("\n".join(lines))
        subprocess.run(["festival", "-b", f"{folder}/all.scm"], check=True, capture_output=True)
        return [(Path(folder) / f"{row}.wav").read_bytes() for row in range(len(jobs))]


def _samples(raw: bytes) -> tuple[NDArray[np.float32], int]:
    with wave.open(io.BytesIO(raw)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)[:: file.getnchannels()]
        return samples.astype(np.float32), file.getframerate()


def resampled(samples: NDArray[np.float32], rate: int, size: float = 1.0) -> NDArray[np.float32]:
    """Return samples at ``rate`` Hz as they are at `RATE`, played ``size`` times as fast, by the Fourier transform."""
    length = round(len(samples) * RATE / rate / size)
    spectrum = np.fft.rfft(samples)
    wanted = length // 2 + 1
    spectrum = np.pad(spectrum[:wanted], (0, max(0, wanted - len(spectrum))))
    return (np.fft.irfft(spectrum, length) * (length / max(len(samples), 1))).astype(np.float32)


def trimmed(samples: NDArray[np.float32]) -> Samples:
    """Return what lies between the first and the last sample above a hundredth of the peak, and 50 ms around it."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * max(float(np.abs(samples).max()), 1.0))
    if len(loud) == 0:
        return np.zeros(RATE // 10, np.int16)
    samples = samples[max(0, loud[0] - RATE // 20) : loud[-1] + RATE // 20]
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)


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


def phonemes(texts: list[str]) -> list[list[str]]:
    """Return the phonemes of each text in espeak-ng's notation, as an American says it, without stress."""
    command = ["espeak-ng", "-q", "-x", "--sep=_", "-v", "en-us", "--stdin"]
    words = "\n\n".join(spoken(text) for text in texts)
    lines = subprocess.run(command, check=True, capture_output=True, input=words.encode()).stdout.decode().splitlines()
    lines = [line for line in lines if line.strip()]
    if len(lines) != len(texts):
        raise RuntimeError(f"espeak-ng read {len(texts)} texts as {len(lines)}")
    plain = [re.sub(r"[',%=:|]", "", line) for line in lines]
    return [[phoneme for phoneme in re.split(r"[_ ]+", line.strip()) if phoneme] for line in plain]


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
