"""Decoding sound and footage: the right picture, sound and words at every time, whatever a file is like."""

from __future__ import annotations

import io
import itertools
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from crosslens.errors import MediaError
from crosslens.ingest.sources.media import (
    Cutting,
    MediaLimits,
    Moment,
    open_media,
    poster,
    read_captions,
)
from tests.ingest.footage import Film, covered, film, scene_of, subtitled, tone, two_streams

pytest.importorskip("av", reason="sound and footage need the extra av")

VIDEO_FORMATS = ("mp4", "mov", "matroska", "avi", "mpegts", "flv")
SOUND_FORMATS = (("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("adts", "aac"))


def scenes(data: bytes, times_ms: list[int], side: int | None = None) -> list[int]:
    with open_media(data) as media:
        return [scene_of(picture) for picture in media.frames(times_ms, side)]


@pytest.mark.parametrize("container", VIDEO_FORMATS)
def test_a_video_of_each_format_gives_the_picture_shown_at_each_time(container: str) -> None:
    data = film(Film(format=container))
    with open_media(data) as media:
        assert media.info.video
        assert media.info.audio
        assert (media.info.width, media.info.height) == (64, 48)
        assert media.info.seconds == pytest.approx(6.0, abs=0.2)
        pictures = list(media.frames([0, 500, 1800, 2200, 3800, 4200, 5800]))
        assert [scene_of(picture) for picture in pictures] == [0, 0, 0, 1, 1, 2, 2]
        assert all(picture.shape == (48, 64, 3) and picture.dtype == np.uint8 for picture in pictures)


@pytest.mark.parametrize(("container", "codec"), SOUND_FORMATS)
def test_a_sound_of_each_format_is_resampled_to_one_channel(container: str, codec: str) -> None:
    with open_media(film(Film(format=container, codec=None, sound=codec))) as media:
        assert not media.info.video
        assert media.info.audio
        assert media.info.seconds == pytest.approx(6.0, abs=0.1)
        (samples,) = media.sound([Moment(1000, 3000)], 16_000)
    assert samples.dtype == np.float32
    assert samples.shape == (32_000,)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) / 2 == pytest.approx(440, abs=1)
    assert samples.std() == pytest.approx(0.5 / np.sqrt(2), abs=0.02)


def test_uncompressed_sound_comes_out_as_it_went_in() -> None:
    with open_media(film(Film(format="wav", codec=None, sound="pcm_s16le"))) as media:
        whole, part = media.sound([Moment(0, 6000), Moment(2500, 2750)], 48_000)
    assert np.abs(whole - tone(440, 6)).max() < 1e-4
    assert np.array_equal(part, whole[120_000:132_000])


def test_spans_of_sound_may_overlap_lie_apart_and_end_beyond_the_file() -> None:
    data = film(Film(format="wav", codec=None, sound="pcm_s16le", seconds=30))
    spans = [Moment(0, 1000), Moment(500, 1500), Moment(25_000, 26_000), Moment(29_500, 31_000), Moment(40_000, 41_000)]
    with open_media(data) as media:
        found = list(media.sound(spans, 8000))
    assert [len(samples) for samples in found] == [8000, 8000, 8000, 4000, 0]
    expected = tone(440, 30, 8000)
    assert np.abs(found[2] - expected[200_000:208_000]).max() < 0.02


def test_without_sound_or_without_pictures_there_is_a_sentence() -> None:
    with open_media(film(Film(sound=None))) as media:
        assert not media.info.audio
        with pytest.raises(MediaError, match="holds no sound"):
            list(media.sound([Moment(0, 1000)], 16_000))
        # The file can still be asked for what it has.
        assert len(list(media.frames([0, 5000]))) == 2
    with open_media(film(Film(format="wav", codec=None, sound="pcm_s16le"))) as media:
        with pytest.raises(MediaError, match="holds no moving picture"):
            list(media.frames([0]))
        assert media.moments(Cutting()) == [Moment(0, 6000)]


def test_a_cover_is_no_video() -> None:
    with open_media(covered()) as media:
        assert media.info.audio
        assert not media.info.video
        assert media.info.width == 0


def test_of_several_streams_the_largest_picture_is_taken() -> None:
    with open_media(two_streams()) as media:
        assert (media.info.width, media.info.height) == (64, 48)


@pytest.mark.parametrize(
    ("rotation", "hflip", "corner", "shape"),
    [
        (0, True, (0, -1), (48, 64)),
        (90, False, (-1, 0), (64, 48)),
        (180, False, (-1, -1), (48, 64)),
        (-90, False, (0, -1), (64, 48)),
        (90, True, (-1, -1), (64, 48)),
    ],
)
def test_pictures_are_turned_and_mirrored_as_the_file_says(
    rotation: int, hflip: bool, corner: tuple[int, int], shape: tuple[int, int]
) -> None:
    with open_media(film(Film(rotation=rotation, hflip=hflip))) as media:
        assert (media.info.height, media.info.width) == shape
        (picture,) = media.frames([0])
    assert picture.shape[:2] == shape
    bright = {(row, column): picture[row, column].min() > 200 for row in (0, -1) for column in (0, -1)}
    assert [place for place, is_bright in bright.items() if is_bright] == [corner]


def test_pixels_that_are_not_square_become_square() -> None:
    # 64 x 48 with pixels half as wide as high is seen as 32 x 48, and with pixels twice as wide as 64 x 24.
    for aspect, seen in ((Fraction(1, 2), (48, 32)), (Fraction(2), (24, 64))):
        with open_media(film(Film(format="matroska", aspect=aspect))) as media:
            assert (media.info.height, media.info.width) == seen
            assert next(media.frames([0])).shape[:2] == seen


def test_pictures_are_reduced_but_never_enlarged() -> None:
    data = film(Film(width=320, height=240))
    with open_media(data) as media:
        assert [next(media.frames([0], side)).shape[:2] for side in (None, 60, 240, 500)] == [
            (240, 320),
            (60, 80),
            (240, 320),
            (240, 320),
        ]


def test_with_a_variable_frame_rate_a_picture_is_shown_until_the_next() -> None:
    times = (0, 40, 80, 2100, 2140, 2900, 4000, 4010, 4500, 5900)
    data = film(Film(times_ms=times, sound=None))
    # At 2050 ms the picture of 80 ms is still shown, which belongs to the first scene.
    assert scenes(data, [0, 2050, 2110, 3990, 4005, 5000]) == [0, 0, 1, 1, 2, 2]


def test_times_count_from_the_first_of_the_file() -> None:
    data = film(Film(format="matroska", offset_ms=5000, sound_offset_ms=5000))
    with open_media(data) as media:
        assert media.info.seconds == pytest.approx(6.0, abs=0.1)
        assert [scene_of(picture) for picture in media.frames([0, 2500, 4500])] == [0, 1, 2]
        assert len(next(media.sound([Moment(0, 1000)], 16_000))) == 16_000


def test_sound_that_starts_later_is_silent_before() -> None:
    data = film(Film(format="matroska", sound="pcm_s16le", sound_offset_ms=2000, codec="mpeg4"))
    with open_media(data) as media:
        (samples,) = media.sound([Moment(1000, 3000)], 16_000)
        assert scene_of(next(media.frames([500]))) == 0
    assert np.abs(samples[:15_000]).max() < 0.01
    assert np.abs(samples[17_000:]).max() > 0.4


def test_times_before_the_first_and_after_the_last_picture_give_those() -> None:
    assert scenes(film(Film()), [-100, 0, 60_000, 90_000]) == [0, 0, 2, 2]


def test_far_times_are_gone_to() -> None:
    # Seven scenes of ten seconds, with a key frame every 4 s.
    data = film(Film(seconds=70, fps=5, gop=20, scene_s=10, sound=None))
    assert scenes(data, [5000 + 10_000 * n for n in range(7)]) == list(range(7))
    with open_media(data) as media:
        steps = media.moments(Cutting(shots=False, step_s=5))
        assert steps == [Moment(n * 5000, n * 5000 + 5000) for n in range(14)]
        middles = [(step.start_ms + step.end_ms) // 2 for step in steps]
        found = [scene_of(picture) for picture in media.frames(middles, within=steps)]
    assert found == [n // 2 for n in range(14)]


@pytest.mark.parametrize("container", ["matroska", "mpegts", "avi"])
def test_far_times_are_gone_to_in_every_format(container: str) -> None:
    data = film(Film(format=container, seconds=70, fps=5, gop=20, scene_s=10, sound=None))
    assert scenes(data, [5000 + 10_000 * n for n in range(7)]) == list(range(7))


def test_shots_are_cut_where_the_content_changes() -> None:
    with open_media(film(Film(seconds=14))) as media:
        shots = media.moments(Cutting(shots=True))
    assert [shot.start_ms for shot in shots] == pytest.approx([0, 2000, 4000, 6000, 8000, 10_000, 12_000], abs=130)
    assert shots[-1].end_ms == pytest.approx(14_000, abs=130)
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(shots))


def test_moments_are_bounded_whatever_is_asked() -> None:
    data = film(Film(seconds=14))
    with open_media(data) as media:
        assert len(media.moments(Cutting(shots=True, most=3))) == 3
        assert len(media.moments(Cutting(shots=False, step_s=0.001, most=10))) <= 10
        long = media.moments(Cutting(shots=True, longest_s=1.0))
        assert max(moment.end_ms - moment.start_ms for moment in long) <= 1100
        assert len(media.moments(Cutting(shots=True, shortest_s=5.0))) == 2
    with open_media(data, MediaLimits(moments=4)) as media:
        assert len(media.moments(Cutting(shots=False, step_s=1))) <= 4


def test_captions_in_the_file_are_read_as_plain_text() -> None:
    for container, codec in (("matroska", "subrip"), ("mp4", "mov_text"), ("matroska", "ass")):
        with open_media(subtitled(container, codec)) as media:
            assert media.info.captions == 1
            assert [(cue.start_ms, cue.end_ms, cue.text) for cue in media.cues()] == [
                (1000, 2500, "The penguin walks into the sea."),
                (3000, 4000, "A train leaves."),
            ]
    with open_media(film(Film())) as media:
        assert media.info.captions == 0
        assert media.cues() == []


SRT = """1
00:00:01,000 --> 00:00:02,500
<i>The penguin</i> walks
into the sea.

2
00:00:03,000 --> 00:00:04,000
""".replace("\n", "\r\n")
VTT = """WEBVTT

NOTE made here

00:01.000 --> 00:02.500
<v Ann>Grüße</v>

id
01:00:03.000 --> 01:00:04.000 line:0
Bye
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_captions_beside_the_file_are_read_in_any_encoding(encoding: str) -> None:
    cues = read_captions((SRT + "Grüße\r\n").encode(encoding))
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in cues] == [
        (1000, 2500, "The penguin walks into the sea."),
        (3000, 4000, "Grüße"),
    ]
    cues = read_captions(VTT.encode(encoding))
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in cues] == [
        (1000, 2500, "Grüße"),
        (3_603_000, 3_604_000, "Bye"),
    ]


def test_what_is_no_captions_is_said() -> None:
    with pytest.raises(MediaError, match="neither WebVTT nor SRT"):
        read_captions(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert read_captions(b"WEBVTT\n") == []


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "avi", "mp4 fragmented"])
def test_of_a_truncated_file_what_is_there_is_read(container: str) -> None:
    fragmented = (("movflags", "frag_keyframe+empty_moov"),)
    in_front = (("movflags", "faststart"),)
    made = {
        "mp4": Film(options=in_front),
        "mp4 fragmented": Film(options=fragmented),
    }.get(container) or Film(format=container)
    data = film(made)
    with open_media(data[: len(data) * 6 // 10]) as media:
        # Moments cover what can be read, not what the header says.
        assert 2.0 < media.info.seconds < 5.0
        assert media.moments(Cutting(shots=False, step_s=1))[-1].end_ms <= 5000
        assert [scene_of(picture) for picture in media.frames([500, 2500])] == [0, 1]


def test_a_file_cut_before_its_index_is_said_to_be_damaged() -> None:
    data = film(Film())
    with pytest.raises(MediaError, match=r"lecture\.mp4: can't be opened: damaged mov"):
        open_media(data[: len(data) // 2], name="lecture.mp4")


def test_a_file_may_be_a_path_bytes_or_open(tmp_path: Path) -> None:
    data = film(Film())
    (tmp_path / "film.mp4").write_bytes(data)
    with open_media(tmp_path / "film.mp4") as one, (tmp_path / "film.mp4").open("rb") as file:
        file.seek(100)
        with open_media(file) as two, open_media(io.BytesIO(data)) as three:
            assert one.info == two.info == three.info
        assert file.tell() == 100


def test_asking_for_something_else_ends_what_is_under_way() -> None:
    with open_media(film(Film(width=640, height=480))) as media:
        pictures = media.frames(list(range(0, 6000, 100)))
        first = next(pictures)
        assert scene_of(first) == 0
        (samples,) = media.sound([Moment(0, 1000)], 8000)
        assert len(samples) == 8000
        with pytest.raises(MediaError, match="something else was asked"):
            next(pictures)
        assert len(list(media.frames([0, 3000]))) == 2


def test_a_poster_is_a_small_jpeg() -> None:
    with open_media(film(Film(width=320, height=240))) as media:
        data = poster(next(media.frames([0], 120)))
    assert data.startswith(b"\xff\xd8\xff")
    assert len(data) < 20_000


SHORT = Film(seconds=1, fps=5, gop=3, width=32, height=24, scene_s=0.4)
FUZZED = (
    SHORT,
    replace(SHORT, rotation=90, format="mov"),
    replace(SHORT, options=(("movflags", "frag_keyframe+empty_moov"),)),
    replace(SHORT, format="matroska"),
    replace(SHORT, format="webm", codec="libvpx", sound="libopus"),
    replace(SHORT, format="avi", codec="mpeg4", sound="libmp3lame"),
    replace(SHORT, format="mpegts"),
    replace(SHORT, codec=None, format="ogg", sound="libopus"),
    replace(SHORT, codec=None, format="wav", sound="pcm_s16le"),
    replace(SHORT, codec=None, format="flac", sound="flac"),
    replace(SHORT, codec=None, format="mp3", sound="libmp3lame"),
)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return a copy with flipped bytes, most of them in the header, and perhaps a piece missing."""
    copy = bytearray(data)
    for _ in range(chance.choice([1, 3, 20, 200])):
        reach = len(copy) if chance.random() < 0.5 else min(len(copy), 1024)
        copy[chance.randrange(reach)] = chance.randrange(256)
    if chance.random() < 0.2:
        start = chance.randrange(len(copy))
        del copy[start : start + chance.randrange(2000)]
    if chance.random() < 0.1:
        del copy[chance.randrange(len(copy)) :]
    return bytes(copy)


def test_a_thousand_damaged_files_give_what_can_be_read_or_a_sentence() -> None:
    chance = random.Random(17)
    limits = MediaLimits(memory=512 << 20, cpu_s=20, patience_s=60, seconds=600, pixels=1 << 22)
    whole = [film(made) for made in FUZZED]
    read = 0
    sentences = []
    for number in range(1000):
        data = damaged(whole[number % len(whole)], chance)
        try:
            with open_media(data, limits, name=f"copy {number}") as media:
                moments = media.moments(Cutting(most=20))
                if media.info.video:
                    middles = [(moment.start_ms + moment.end_ms) // 2 for moment in moments]
                    assert all(min(picture.shape[:2]) <= 16 for picture in media.frames(middles, 16))
                if media.info.audio:
                    assert all(np.isfinite(samples).all() for samples in media.sound(moments, 16_000))
                media.cues()
            read += 1
        except MediaError as error:
            sentences.append((number, str(error)))
    assert read > 300
    assert len(sentences) > 50
    assert all(sentence.startswith(f"copy {number}: ") for number, sentence in sentences)


def test_damage_does_not_hide_the_rest() -> None:
    data = bytearray(film(Film(seconds=20, scene_s=4, gop=5)))
    start = len(data) // 3
    data[start : start + 300] = bytes(300)
    assert scenes(bytes(data), [500, 19_500]) == [0, 4]
