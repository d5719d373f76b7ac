"""Names spoken by the voices that the demo's audio encoder never heard, and how well they find what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crosslens.demo.build import DATA
from crosslens.demo.run import load_items
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.senses import Samples
from crosslens.ingest.sources.media import Moment, open_media
from tests.conftest import DATA as TEST_DATA
from tests.conftest import read_lines


@dataclass(frozen=True)
class Spoken:
    """What one voice said: ``sounds`` as the encoder reads them, the catalogue's id of each, and whether its name was
    held out from training."""

    voice: str
    sounds: list[Samples]
    ids: list[str]
    held_out: NDArray[np.bool_]


@dataclass(frozen=True)
class Gallery:
    """What is looked for: the vectors of every name and of its picture, in the order of ``ids``."""

    encoder: Encoder

    @cached_property
    def _rows(self) -> list[dict[str, object]]:
        return read_lines(TEST_DATA / "names.jsonl")

    @cached_property
    def ids(self) -> list[str]:
        return [str(row["id"]) for row in self._rows]

    @cached_property
    def names(self) -> NDArray[np.float32]:
        return self.encoder.encode_texts([str(row["name"]) for row in self._rows])

    @cached_property
    def pictures(self) -> NDArray[np.float32]:
        images = {str(item["id"]): DATA / str(item["image"]) for item in load_items()}
        return self.encoder.encode_images([images[each] for each in self.ids])

    def ranks(self, sounds: Sequence[Samples], ids: Sequence[str], of: str) -> NDArray[np.int64]:
        """How many names or pictures (``of``) come before the right one, for each sound."""
        wanted = self.names if of == "name" else self.pictures
        scores = self.encoder.encode_sounds(sounds) @ wanted.T
        place = {each: i for i, each in enumerate(self.ids)}
        right = scores[np.arange(len(ids)), [place[each] for each in ids]]
        return np.asarray((scores > right[:, None]).sum(axis=1))


def sample(rate: int) -> list[Spoken]:
    """The names in tests/data/speech, at ``rate`` Hz, by voice."""
    lines = read_lines(TEST_DATA / "speech.jsonl")
    spoken = []
    for voice in sorted({str(line["voice"]) for line in lines}):
        mine = [line for line in lines if line["voice"] == voice]
        name = voice.replace(" ", "-").replace("_", "-")
        with open_media(TEST_DATA / "speech" / f"{name}.ogg") as media:
            spans = [Moment(int(line["start_ms"]), int(line["end_ms"])) for line in mine]
            sounds = list(media.sound(spans, rate))
        held_out = np.array([line["held_out"] for line in mine], dtype=bool)
        spoken.append(Spoken(voice, sounds, [str(line["id"]) for line in mine], held_out))
    return spoken
