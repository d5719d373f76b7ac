"""Sounds and footage in searches: every way from one kind to another, and the moments that hits matched.

Vectors are written as the contract has them. They, and those of queries, are made by an encoder that knows colours by
their names, their pictures, and a tone for each.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import helpers

from crosslens import HybridSearcher
from crosslens.errors import MediaError, QueryError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import put_fields
from crosslens.ingest.contract.record import Modality, Part, VectorField
from crosslens.ingest.model.passages import Passage
from crosslens.ingest.model.senses import AudioSettings, Clip, Samples, Target, VideoSettings
from crosslens.ingest.model.transform import Float32Array
from crosslens.ingest.sources.decoding.shapes import Cutting, Moment
from crosslens.queries.fusion.scores import Part as ScorePart
from crosslens.queries.search.media import encoded, readable, spread
from crosslens.queries.search.options import DraftOptions, SearchOptions
from crosslens.queries.search.readings import assign, words_of
from crosslens.queries.search.remembered import QueryVectors
from crosslens.queries.search.senses import captions_of, reads_of
from crosslens.queries.search.terms import Terms, vectors
from crosslens.queries.search.textual import Captions, TextFields
from crosslens.queries.show.explain import explain
from crosslens.queries.show.moments import Found, MatchedMoment, clock, described, fragment, moments_of
from crosslens.queries.show.result import SearchResult
from tests.conftest import Server
from tests.ingest.footage import SCENES, Film, film, scene_of, tone

NAMES = ("red", "blue", "green", "yellow", "violet", "black", "white")
DIMS = len(NAMES)
FINGERPRINT = "colours"


def hz(colour: int) -> float:
    """The tone that stands for a colour."""
    return 300.0 + 100.0 * colour


@dataclass(frozen=True)
class Colours:
    """An encoder of seven colours: each has an axis, whatever shows it. ``towers`` are what it has encoders for."""

    towers: frozenset[str] = frozenset({"image", "audio"})
    name: str = "colours"
    fingerprint: str = FINGERPRINT
    dims: int = DIMS
    batch_size: int = 8
    remote: bool = False

    @property
    def encodes_images(self) -> bool:
        return "image" in self.towers

    @property
    def encodes_audio(self) -> bool:
        return "audio" in self.towers

    @property
    def encodes_video(self) -> bool:
        return "video" in self.towers

    @property
    def audio(self) -> AudioSettings | None:
        return AudioSettings(8_000, 2.0) if self.encodes_audio else None

    @property
    def video(self) -> VideoSettings | None:
        return VideoSettings(4, 2.0, 8_000) if self.encodes_video else None

    def passages(self, text: str) -> list[Passage]:
        return [Passage(0, len(text))]

    def lost(self, texts: Sequence[str]) -> list[float]:
        return [0.0] * len(texts)

    def encode_texts(self, texts: Sequence[str], *, role: str = "passage") -> Float32Array:
        return np.stack([vector(*(NAMES.index(word) for word in each.split() if word in NAMES)) for each in texts])

    def encode_queries(self, texts: Sequence[str], target: Target) -> Float32Array:
        return self.encode_texts(texts)

    def encode_images(self, images: Any) -> Float32Array:
        return np.stack([vector(scene_of(np.asarray(each))) for each in images])

    def prepare_image(self, image: Any, rules: Any = None) -> Any:
        return np.asarray(image)

    def prepare_frame(self, frame: Any) -> Any:
        return (
            np.asarray(frame)[:32, :32]
            if scene_of(frame) < 0
            else np.full((4, 4, 3), SCENES[scene_of(frame)], np.uint8)
        )

    def encode_pixels(self, pixels: Any) -> Float32Array:
        return np.stack([vector(scene_of(each)) for each in pixels])

    def encode_sounds(self, sounds: Sequence[Samples]) -> Float32Array:
        return np.stack([vector(self._heard(each)) for each in sounds])

    def encode_clips(self, clips: Sequence[Clip]) -> Float32Array:
        return np.stack([vector(scene_of(each.frames[0])) for each in clips])

    def _heard(self, sound: Samples) -> int:
        rate = AudioSettings(8_000, 2.0).rate
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
        return int(np.argmin(np.abs(np.array([hz(i) for i in range(DIMS)]) - spectrum.argmax() * rate / len(sound))))


def vector(*colours: int) -> Float32Array:
    """A unit vector near the colours' axes; all a little apart, as real ones are."""
    found = 0.02 * np.cos(np.arange(DIMS) * (1 + sum(colours)), dtype=np.float32)
    for each in colours:
        found[each] += 1.0
    return np.asarray(found / np.linalg.norm(found), dtype=np.float32)


def field(name: str, modality: Modality, source: str, part: Part | None = None) -> VectorField:
    """A recorded field; of whole floats, since few dims are rounded off much."""
    cutting = Cutting() if modality in ("audio", "video") else None
    return VectorField(
        name,
        modality,
        (source,),
        "colours",
        FINGERPRINT,
        DIMS,
        "hnsw",
        each=cutting is not None,
        part=part,
        cutting=cutting,
    )


TITLE = field("title_vector", "text", "title")
PHOTO = field("photo_vector", "image", "photo")
SOUND = field("clip_vector", "audio", "clip", "sound")
SCENES_SEEN = field("scenes", "video", "footage", "frames")
HEARD = field("heard", "video", "footage", "sound")
FIELDS = [TITLE, PHOTO, SOUND, SCENES_SEEN, HEARD]


def wav(colour: int, seconds: float = 1.0) -> bytes:
    """The tone of a colour."""
    import wave

    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes((tone(hz(colour), seconds, 8_000) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def footage(scene: int, heard: int | None = None) -> bytes:
    """A second of a colour, and of the tone of another."""
    times = tuple(range(scene * 2_000, scene * 2_000 + 1_000, 100))
    return film(
        Film(
            seconds=1.0,
            times_ms=times,
            offset_ms=-scene * 2_000,
            sound="aac" if heard is not None else None,
            tone_hz=hz(heard or 0),
        )
    )


# ---- what is known without a server


def test_times_are_written_as_people_write_them() -> None:
    assert [clock(ms) for ms in (0, 3_449, 123_400, 3_723_499)] == ["0:00.0", "0:03.4", "2:03.4", "1:02:03.4"]
    moment = MatchedMoment("footage", 0, 62_000, 65_400, {"sound": 0.25, "picture": 0.5})
    assert described(moment) == "1:02.0 to 1:05.4, by picture (50%) and sound (25%)"
    assert fragment(moment) == "#t=62.000,65.400"


def test_what_legs_found_at_one_time_is_one_moment() -> None:
    def at(start: int, end: int, position: int = 0) -> dict[str, int]:
        return {"position": position, "start_ms": start, "end_ms": end}

    found = [
        Found("footage", "frames", 0.3, at(4_000, 6_000)),
        Found("footage", "sound", 0.4, at(5_000, 10_000)),
        Found("footage", "words", 0.2, {**at(20_000, 22_000), "text": "a red boat"}),
        Found("other", "frames", 0.05, at(4_000, 6_000)),
        Found("footage", "frames", 0.01, at(4_000, 6_000, position=1)),
        Found("footage", "captions", 0.0, at(1_000, 2_000)),
    ]
    assert moments_of(found) == [
        MatchedMoment("footage", 0, 5_000, 6_000, {"sound": 0.4, "picture": 0.3}),
        MatchedMoment("footage", 0, 20_000, 22_000, {"words": 0.2}, "a red boat"),
        MatchedMoment("other", 0, 4_000, 6_000, {"picture": 0.05}),
        MatchedMoment("footage", 1, 4_000, 6_000, {"picture": 0.01}),
    ]


def test_a_leg_that_did_not_find_the_document_shows_a_moment_only_where_no_other_does() -> None:
    alone = Found("footage", "sound", 0.0, {"position": 0, "start_ms": 0, "end_ms": 5})
    assert moments_of([alone]) == [MatchedMoment("footage", 0, 0, 5, {"sound": 0.0})]


def test_moments_that_only_touch_are_two() -> None:
    found = [
        Found("f", "frames", 0.5, {"position": 0, "start_ms": 0, "end_ms": 2_000}),
        Found("f", "sound", 0.4, {"position": 0, "start_ms": 2_000, "end_ms": 4_000}),
    ]
    assert len(moments_of(found)) == 2


def test_frames_sound_and_captions_of_one_file_are_different_sources() -> None:
    words = field("said", "video", "footage", "captions")
    both = field("whole", "video", "footage", "both")
    reads = {each.field: reads_of(each) for each in (SCENES_SEEN, HEARD, words, SOUND)}
    reads["scenes.text"] = words_of(["scenes.text"], {}, captions={"scenes.text": "footage"})
    reads["keyword"] = words_of(["title", "footage"], {}, captions={"scenes.text": "footage"})
    assert assign(reads, {}) == {
        "scenes": "footage (frames)",
        "heard": "footage (sound)",
        "said": "footage (captions)",
        "scenes.text": "footage (captions)",
        "clip_vector": "clip (sound)",
        "keyword": "footage, title",
    }
    joined = assign({**reads, "whole": reads_of(both)}, {})
    assert joined["whole"] == joined["scenes"] == joined["heard"] != joined["said"]


def mapping(*fields: VectorField) -> dict[str, Any]:
    """What an index with these fields has as its mapping."""
    from crosslens.ingest.contract.mapping import mapping_update
    from crosslens.ingest.contract.record import Record

    mapped: dict[str, Any] = {"properties": {"title": {"type": "text"}}}
    update = mapping_update(mapped, Record().with_fields(fields), fields)
    return {"properties": {**mapped["properties"], **update["properties"]}, "_meta": update["_meta"]}


def test_the_captions_of_a_file_are_searched_once_and_never_by_the_keyword_leg() -> None:
    said = field("said", "video", "footage", "captions")
    mappings = {"a": mapping(SCENES_SEEN, HEARD, SOUND), "b": mapping(SCENES_SEEN, said)}
    assert captions_of({"a": mappings["a"]}) == {"scenes.text": "footage", "clip_vector.text": "clip"}
    assert captions_of(mappings) == {"said.text": "footage", "clip_vector.text": "clip"}
    assert TextFields.of(mappings, FIELDS, None).names == ("title",)
    assert TextFields.of(mappings, FIELDS, ("title^2", "said.text")).names == ("title^2",)
    assert [each.name for each in Captions.of(mappings, None)] == ["clip_vector.text", "said.text"]
    assert [each.name for each in Captions.of(mappings, ("title", "said.*^3"))] == ["said.text^3"]
    assert Captions.of(mappings, ("title",)) == ()


def test_a_caption_is_asked_for_in_its_moment() -> None:
    query = Captions("scenes.text^2", "footage").matching("a red boat")
    assert query["nested"]["path"] == "scenes"
    assert query["nested"]["query"]["multi_match"]["fields"] == ["scenes.text^2"]


def test_an_explanation_says_when_and_by_what() -> None:
    parts = {
        "keyword": ScorePart(0.0, 0, 0),
        "scenes.text": ScorePart(4.0, 0, 0.2, chance=0.5, covered=0.8),
        "scenes": ScorePart(0.3, 0, 0.4, chance=2.0),
        "heard": ScorePart(None, 0, 0, lacking=True),
    }
    senses: Any = {"keyword": None, "scenes.text": "words", "scenes": "frames", "heard": "sound"}
    assert explain(parts, senses, 100, {"scenes": "1:02.0 to 1:05.4", "scenes.text": "0:01.0 to 0:02.0"}) == [
        "about 2 scenes would match as well by chance (1:02.0 to 1:05.4)",
        "the captions cover 80 % of the query (0:01.0 to 0:02.0)",
        "the words don't match",
        "it has no sound to compare",
    ]


@pytest.mark.parametrize(
    ("seconds", "length", "expected"),
    [
        (3.0, 10.0, [Moment(0, 3_000)]),
        (20.0, 10.0, [Moment(0, 10_000), Moment(10_000, 20_000)]),
        (25.0, 10.0, [Moment(0, 8_333), Moment(8_333, 16_666), Moment(16_666, 25_000)]),
        (100.0, 10.0, [Moment(0, 10_000), Moment(45_000, 55_000), Moment(90_000, 100_000)]),
    ],
)
def test_a_query_is_read_evenly_over_its_length(seconds: float, length: float, expected: list[Moment]) -> None:
    assert spread(seconds, length, 3) == expected


def test_of_a_long_query_that_may_be_read_once_its_middle_is_read() -> None:
    assert spread(100.0, 10.0, 1) == [Moment(45_000, 55_000)]


def test_a_video_looks_for_each_kind_by_what_is_nearest_to_it() -> None:
    whole = Colours(frozenset({"image", "audio", "video"}))
    assert readable(whole, "video", "image") == ["frames", "clips", "sound"]
    assert readable(whole, "video", "audio") == ["sound", "clips", "frames"]
    assert readable(whole, "video", "video") == ["clips", "frames", "sound"]
    assert readable(whole, "audio", "image") == ["sound"]
    assert readable(Colours(frozenset({"image"})), "audio", "image") == []
    assert readable(Colours(frozenset({"image"})), "video", "audio") == ["frames"]


def test_a_sound_that_no_model_encodes_is_refused_with_the_models_name() -> None:
    blind, terms = Encoders([Colours(frozenset({"image"}))]), Terms.of(SearchOptions("red", audio=b"..."))
    with pytest.raises(QueryError, match="no model of the vector fields that are searched encodes sounds: colours"):
        vectors(terms, [TITLE], blind, QueryVectors(0), {})


def test_a_draft_is_searched_with_by_itself() -> None:
    with pytest.raises(QueryError, match="without audio, video"):
        DraftOptions("a draft", audio=b"1", video=b"2")


def test_a_sound_or_video_alone_is_enough_to_look_for() -> None:
    assert Terms.of(SearchOptions(audio=Path("a.wav"))).sounds == (Path("a.wav"),)
    assert Terms.of(SearchOptions(video=[b"1", b"2"])).footage == (b"1", b"2")
    with pytest.raises(QueryError, match="a sound, a video"):
        Terms.of(SearchOptions())


def test_a_query_is_read_by_the_first_encoder_that_it_has_something_for() -> None:
    pytest.importorskip("av", reason="the extra 'av' is not installed")
    encoder = Colours()
    assert encoded(encoder, wav(3, 5.0), ["sound"]).argmax() == 3
    assert encoded(encoder, footage(1, heard=4), ["sound", "frames"]).argmax() == 4
    assert encoded(encoder, footage(1), ["sound", "frames"]).argmax() == 1
    with pytest.raises(MediaError, match="there is no sound in it, which is what colours reads of it"):
        encoded(encoder, footage(1), ["sound"])


# ---- with nodes

CAPTIONS = {0: "a harbour at dawn", 2: "the lighthouse keeper speaks", 5: "nobody is there"}


def moments(*colours: int, at: int, words: dict[int, str] | None = None) -> list[dict[str, Any]]:
    """A moment of two seconds for each colour, which only ``at`` one of them is pure."""
    return [
        {
            "vector": vector(*((colour,) if i == at else (colour, (colour + 4) % DIMS))).tolist(),
            "position": 0,
            "start": 2_000 * i,
            "end": 2_000 * (i + 1),
            "hash": "0" * 32,
            **({"text": words[i]} if words and i in words else {}),
        }
        for i, colour in enumerate(colours)
    ]


def documents() -> list[dict[str, Any]]:
    """By colour: a text, a photo, a sound, and footage in which it is seen at 2 s and another one is heard at 4 s."""
    made: list[dict[str, Any]] = []
    for i, name in enumerate(NAMES):
        other = (i + 3) % DIMS
        made.append({"title": f"about {name}", "title_vector": vector(i).tolist()})
        made.append({"title": "a photo", "photo": f"{name}.png", "photo_vector": vector(i).tolist()})
        made.append({"title": "a recording", "clip": f"{name}.wav", "clip_vector": moments(other, i, at=1)})
        seen = moments((i + 1) % DIMS, i, (i + 2) % DIMS, at=1, words={2: CAPTIONS[i]} if i in CAPTIONS else None)
        heard = moments((i + 1) % DIMS, (i + 2) % DIMS, other, at=2)
        made.append({"title": "a film", "footage": f"{name}.mp4", "scenes": seen, "heard": heard})
    return made


def place(colour: str, kind: int) -> str:
    """The id of a document: kind 0 is a text, 1 a photo, 2 a sound, and 3 footage."""
    return str(4 * NAMES.index(colour) + kind)


@pytest.fixture(scope="module")
def archive(server: Server) -> str:
    keyword = {"type": "keyword"}
    properties = {"title": {"type": "text"}, "photo": keyword, "clip": keyword, "footage": keyword}
    index = server.new_index({"properties": properties}, [], shards=2)
    put_fields(server.client, index, FIELDS)
    actions = ({"_index": index, "_id": str(i), **each} for i, each in enumerate(documents()))
    helpers.bulk(server.client, actions, refresh=True)
    return index


@pytest.fixture(scope="module")
def searcher(server: Server, archive: str) -> HybridSearcher:
    return HybridSearcher(server.client, archive, Colours())


def best(result: SearchResult) -> str:
    return result.hits[0].id


@pytest.mark.node
def test_each_kind_finds_each_other(searcher: HybridSearcher) -> None:
    pytest.importorskip("av", reason="the extra 'av' is not installed")
    red = np.full((8, 8, 3), SCENES[0], np.uint8)
    queries: dict[str, dict[str, Any]] = {
        "text": {"text": "red", "text_fields": None},
        "picture": {"image": red},
        "sound": {"audio": wav(0)},
        "footage": {"video": footage(0, heard=0)},
    }
    legs = {"title_vector": 0, "photo_vector": 1, "clip_vector": 2, "scenes": 3}
    for query in queries.values():
        query.pop("text_fields", None)
        for leg, kind in legs.items():
            assert best(searcher.search(**query, legs=[leg])) == place("red", kind)
    # Sound to footage by its sound, and footage to sound by what is heard in it.
    heard = searcher.search(audio=wav(0), legs=["heard"]).hits[0]
    assert (heard.id, heard.moments[0].start_ms, heard.moments[0].by) == (place("violet", 3), 4_000, {"sound": 1.0})
    assert best(searcher.search(video=footage(2, heard=0), legs=["clip_vector"])) == place("red", 2)
    assert best(searcher.search(video=footage(0), legs=["clip_vector"])) == place("red", 2)


@pytest.mark.node
def test_a_hit_says_which_moments_matched_and_by_what(searcher: HybridSearcher) -> None:
    result = searcher.search("blue keeper", size=40)
    assert result.legs[:3] == ["keyword", "clip_vector.text", "scenes.text"]
    assert set(result.legs[3:]) == {each.field for each in FIELDS}
    assert result.sources["scenes"] == "footage (frames)"
    assert result.sources["scenes.text"] == "footage (captions)"
    hits = {hit.id: hit for hit in result.hits}
    seen = hits[place("blue", 3)]
    first = seen.moments[0]
    assert (first.source, first.position, first.start_ms, first.end_ms) == ("footage", 0, 2_000, 4_000)
    assert first.by["picture"] == pytest.approx(seen.parts["scenes"].weighted / seen.score)
    assert any("(0:02.0 to 0:04.0)" in each for each in seen.explanation)
    said = hits[place("green", 3)]
    words = next(moment for moment in said.moments if "words" in moment.by)
    assert (words.start_ms, words.end_ms, words.text) == (4_000, 6_000, CAPTIONS[2])
    assert said.matched["scenes.text"]["text"] == CAPTIONS[2]
    assert len(said.matched["scenes"]["also"]) == 2
    # Of two words one is spoken.
    assert said.parts["scenes.text"].covered == pytest.approx(0.5)
    plain = next(each["moments"] for each in result.as_dict()["hits"] if each["id"] == seen.id)
    assert set(plain[0]) == {"start_ms", "end_ms", "by", "source", "position", "text"}


@pytest.mark.node
def test_captions_are_marked_and_counted_beside_the_words_of_the_document(searcher: HybridSearcher) -> None:
    words = ["keyword", "scenes.text"]
    how: dict[str, Any] = {"highlight": {"fields": {"*": {}}}, "size": 5, "legs": words}
    for complete in (True, False):
        hit = searcher.search("lighthouse film", complete=complete, **how).hits[0]
        assert hit.id == place("green", 3)
        assert hit.highlight["scenes.text"] == ["the <em>lighthouse</em> keeper speaks"]
        assert hit.highlight["title"] == ["a <em>film</em>"]
        assert hit.moments[0].start_ms == 4_000
    misspelt = searcher.search("lighthuose", legs=words).hits[0]
    assert misspelt.id == place("green", 3)
    assert misspelt.parts["scenes.text"].respelt
    assert misspelt.moments[0].start_ms == 4_000


@pytest.mark.node
@pytest.mark.parametrize("normalizer", ["evidence", "theoretical-min-max", "rank"])
def test_moments_come_with_every_normalizer(searcher: HybridSearcher, normalizer: Any) -> None:
    hit = searcher.search("green", normalizer=normalizer, legs=["scenes", "scenes.text"]).hits[0]
    assert hit.id == place("green", 3)
    assert (hit.moments[0].start_ms, hit.moments[0].end_ms) == (2_000, 4_000)


@pytest.mark.node
def test_more_like_footage_is_what_is_nearest_to_all_of_it(searcher: HybridSearcher) -> None:
    films = {
        str(i): np.array([m["vector"] for m in each["scenes"]])
        for i, each in enumerate(documents())
        if "scenes" in each
    }
    mean = films.pop(place("red", 3)).mean(axis=0)
    nearest = sorted(films, key=lambda id: -float((films[id] @ mean).max()))
    result = searcher.search(like=place("red", 3), legs=["scenes"], size=6)
    assert [hit.id for hit in result.hits] == nearest
    assert result.hits[0].parts["scenes"].raw == pytest.approx(
        float((films[nearest[0]] @ mean).max() / np.linalg.norm(mean)), abs=1e-6
    )


@pytest.mark.node
def test_a_draft_finds_footage_and_the_moment(searcher: HybridSearcher) -> None:
    result = searcher.search_draft("yellow", legs=["scenes", "scenes.text"])
    assert best(result) == place("yellow", 3)
    assert result.hits[0].moments[0].start_ms == 2_000
    assert result.hits[0].answers["text"] == "yellow"


@pytest.mark.node
def test_a_sound_is_refused_where_nothing_can_hear_it(server: Server, archive: str) -> None:
    deaf = HybridSearcher(server.client, archive, Colours(frozenset({"image"})))
    with pytest.raises(QueryError, match="encodes sounds: colours"):
        deaf.search(audio=wav(0))
