"""What a name finds that is spoken by a voice which the demo's audio encoder never heard."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crosslens.demo.speech import SEED, Clips, read_script
from crosslens.demo.voices import HELD_OUT, VOICES, Manner, say, spoken
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_SOUND
from crosslens.queries.evaluate.measures import interval
from tests.bench.common import console, show
from tests.speech import Gallery, Spoken


def main(arguments: Sequence[str] = ()) -> None:
    """Prints recall with 95 % intervals: written names and pictures found by spoken ones, all and never spoken ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.speech", description=main.__doc__)
    parser.add_argument("--clips", type=Path, help="what crosslens.demo.speech wrote; else the names are spoken now")
    parser.add_argument("--model", type=Path, default=DEMO_SOUND)
    asked = parser.parse_args(arguments)
    gallery = Gallery(Encoder(asked.model))
    rows = []
    for number in HELD_OUT:
        voice = _voice(number, asked.clips, gallery)
        for kind, chosen in (("all", np.ones(len(voice.ids), bool)), ("never spoken in training", voice.held_out)):
            sounds = [sound for sound, kept in zip(voice.sounds, chosen, strict=True) if kept]
            ids = [each for each, kept in zip(voice.ids, chosen, strict=True) if kept]
            row = [f"{voice.voice}: {kind}", str(len(ids))]
            for of in ("name", "picture"):
                ranks = gallery.ranks(sounds, ids, of)
                row += [_share(ranks < 1), _share(ranks < 10)]
            rows.append(row)
    ranks = _ceiling(gallery)
    rows.append(["written name", str(len(ranks)), "", "", _share(ranks < 1), _share(ranks < 10)])
    show(
        f"{len(gallery.ids)} names, by voices that were never heard; recall at 1 and 10",
        ["queries", "number", "name @1", "name @10", "picture @1", "picture @10"],
        rows,
    )
    console.print(f"by chance: @1 {1 / len(gallery.ids):.4f}, @10 {10 / len(gallery.ids):.4f}")


def _voice(number: int, clips: Path | None, gallery: Gallery) -> Spoken:
    voice, said = VOICES[number], read_script(SEED)
    if clips is not None:
        kept = Clips.load(clips / f"held-out-{number}.npz")
        made = [kept[row] for row in range(len(kept))]
    else:
        made = say(voice, [(spoken(text), Manner()) for text in said.texts[: said.names]])
    assert gallery.encoder.audio is not None
    most = gallery.encoder.audio.most
    held_out = np.isin(np.arange(said.names), said.held_out)
    return Spoken(str(voice), [each[:most].astype(np.float32) / 32768 for each in made], gallery.ids, held_out)


def _ceiling(gallery: Gallery) -> np.ndarray:
    scores = gallery.names @ gallery.pictures.T
    return (scores > np.diag(scores)[:, None]).sum(axis=1)


def _share(found: np.ndarray) -> str:
    low, high = interval(found.astype(np.float64))
    return f"{found.mean():.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
