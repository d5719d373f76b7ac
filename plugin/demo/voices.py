"""The speech synthesisers that the demo's audio encoder is taught and tested by: their voices, and what they say."""

from __future__ import annotations

import io
import re
import subprocess
import tempfile
import unicodedata
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
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


def spoken(text: str) -> str:
    """Return a text as synthesisers can read it: letters, digits, and little else."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("&", " and ")
    text = text.replace("#", " hash ").replace("*", " asterisk ")
    return " ".join(re.sub(r"[^\w' -]", " ", text).split())


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
