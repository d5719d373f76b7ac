"""The demo's audio encoder: what it reaches on voices that it never heard, and what makes its speech and footage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crosslens.demo.build import DATA
from crosslens.demo.listening import load_films, read_wave
from crosslens.demo.speech import read_script
from crosslens.demo.voices import HELD_OUT, RATE, VOICES, resampled, spoken, trimmed
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL, DEMO_SOUND
from crosslens.ingest.sources.media import open_media
from tests.speech import Gallery, Spoken, sample

# `make listen` writes it.
TRAINED = pytest.mark.skipif(not DEMO_SOUND.is_dir(), reason="the demo's audio encoder isn't trained")
VOICE_NAMES = [str(VOICES[row]) for row in HELD_OUT]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(DEMO_SOUND)


@pytest.fixture(scope="module")
def gallery(encoder: Encoder) -> Gallery:
    return Gallery(encoder)


@pytest.fixture(scope="module")
def voices(encoder: Encoder) -> dict[str, Spoken]:
    assert encoder.audio is not None
    return {each.voice: each for each in sample(encoder.audio.rate)}


@TRAINED
@pytest.mark.parametrize("voice", VOICE_NAMES)
def test_a_voice_that_was_never_heard_finds_written_names_and_pictures(
    voice: str, voices: dict[str, Spoken], gallery: Gallery
) -> None:
    said = voices[voice]
    assert len(said.ids) == 120
    assert float((gallery.ranks(said.sounds, said.ids, "name") < 10).mean()) >= 0.85
    assert float((gallery.ranks(said.sounds, said.ids, "picture") < 10).mean()) >= 0.55


@TRAINED
def test_texts_and_pictures_have_the_demo_models_vectors(encoder: Encoder) -> None:
    demo = Encoder(DEMO_MODEL)
    assert encoder.fingerprint != demo.fingerprint
    assert demo.fingerprint in encoder.searches
    picture = DATA / "queries" / "penguin.png"
    np.testing.assert_array_equal(encoder.encode_texts(["a penguin"]), demo.encode_texts(["a penguin"]))
    np.testing.assert_array_equal(encoder.encode_images([picture]), demo.encode_images([picture]))


def test_the_demo_model_is_what_it_was() -> None:
    # Indices and servers that were filled with it go on being found.
    assert Encoder(DEMO_MODEL).fingerprint == "46271532a6604d56"


@TRAINED
def test_a_vector_depends_neither_on_level_nor_on_silence_around(encoder: Encoder) -> None:
    said = read_wave(DATA / "spoken" / "penguin.wav")
    quiet, late = said * 0.05, np.concatenate([np.zeros(RATE * 2, np.float32), said])
    made = encoder.encode_sounds([said, quiet, late])
    assert float(made[0] @ made[1]) > 0.999
    assert float(made[0] @ made[2]) > 0.95


@TRAINED
def test_neither_silence_nor_noise_breaks_it(encoder: Encoder) -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    sounds = [np.zeros(RATE, np.float32), noise, np.ones(1, np.float32)]
    made = encoder.encode_sounds(sounds)
    assert np.isfinite(made).all()
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


def test_held_out_names_are_said_by_nobody_in_training() -> None:
    said = read_script(7)
    never = {spoken(said.texts[row]).lower() for row in said.held_out}
    others = [text for row, text in enumerate(said.texts) if row not in set(said.held_out.tolist())]
    assert 150 <= len(never) <= 280
    assert not never & {spoken(text).lower() for text in others}
    assert len(set(said.texts)) == len(said.texts)


def test_what_is_said_has_no_signs_that_synthesisers_stumble_over() -> None:
    assert spoken("Japanese “prohibited” button") == "Japanese prohibited button"
    assert spoken("women’s room") == "women's room"
    assert spoken("keycap: #") == "keycap hash"
    assert spoken("A & B*") == "A and B asterisk"


def test_resampling_keeps_a_tone_and_trimming_takes_the_silence_around_it() -> None:
    time = np.arange(32_000) / 32_000
    tone = np.where((time > 0.4) & (time < 0.6), np.sin(2 * np.pi * 500 * time), 0).astype(np.float32) * 10_000
    samples = trimmed(resampled(tone, 32_000))
    # 200 ms of tone, and 50 ms on both sides.
    assert len(samples) / RATE == pytest.approx(0.3, abs=0.01)
    loudest = int(np.abs(np.fft.rfft(samples[800:4000])).argmax())
    assert loudest * RATE / 3200 == pytest.approx(500, abs=6)
    assert len(resampled(tone, 32_000, size=1.25)) == 12_800


def test_films_and_spoken_queries_are_there() -> None:
    films = load_films()
    assert len(films) >= 4
    for film in films:
        with open_media(DATA / str(film["footage"])) as media:
            assert media.info.video
            assert media.info.audio
            assert media.info.seconds == pytest.approx(12, abs=0.5)
            assert len(media.moments()) >= 3
    for path in sorted((DATA / "spoken").glob("*.wav")):
        assert 0.3 < len(read_wave(path)) / RATE < 2


@TRAINED
def test_the_sound_model_says_where_it_comes_from() -> None:
    manifest = json.loads((DEMO_SOUND / "crosslens.json").read_text())
    assert manifest["name"] == "crosslens-emoji-sound"
    assert manifest["parity"]["audio_cosine_min"] >= 0.9999
    notice = (DATA / "NOTICE.md").read_text(encoding="utf-8")
    for voice in VOICES:
        assert voice.engine in notice
    assert Path(DATA / "sound").is_dir()
