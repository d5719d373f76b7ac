"""What an index keeps of sound and footage: the record, the mapping, states, and moments with their words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import click
import numpy as np
import pytest

from crosslens import AudioField, Cutting, Encoders, ImageField, TextField, VectorEncoder, VideoField, parse_target
from crosslens.commands.options import parse_targets
from crosslens.errors import MappingError, ModelError
from crosslens.ingest.contract.documents import State, document_update, inputs, source_hash, standing
from crosslens.ingest.contract.mapping import check_target, flat_properties, mapping_update
from crosslens.ingest.contract.moments import StoredMoment, stored_moments, windows, words_by_moment
from crosslens.ingest.contract.record import META, Part, Record, VectorField, meta_update, read_record
from crosslens.ingest.contract.selection import Selection, done_query, missing_query
from crosslens.ingest.model.senses import VideoSettings
from crosslens.ingest.run.media_vectors import clip_times
from crosslens.ingest.run.media_work import refused
from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.sending import Guard
from crosslens.ingest.run.tasks import selected
from crosslens.ingest.sources.decoding.shapes import Cue, Moment


def footage(part: Part = "frames", **more: Any) -> VectorField:
    about = {"model": "m", "fingerprint": "f", "dims": 2, "index_type": "flat", "each": True, "cutting": Cutting()}
    return VectorField("v", "video", ("film",), part=part, **{**about, **more})


@pytest.mark.parametrize(
    ("spec", "modality", "expected"),
    [
        ("film", "video", VideoField("film")),
        ("film[frames]", "video", VideoField("film", of="frames")),
        ("scenes=film[frames]", "video", VideoField("film", of="frames", name="scenes")),
        ("films[].url[sound]", "video", VideoField("films.url", of="sound", name="films_url_vector")),
        ("film[captions]", "video", VideoField("film", of="captions")),
        ("film[both]", "video", VideoField("film", of="both")),
        ("clip", "audio", AudioField("clip")),
        ("clip[captions]", "audio", AudioField("clip", of="captions")),
    ],
)
def test_a_field_of_moments_is_written_in_two_ways(spec: str, modality: Any, expected: Any) -> None:
    assert parse_target(spec, modality) == expected
    assert expected.each
    assert not expected.passages


@pytest.mark.parametrize(
    ("spec", "modality", "said"),
    [
        ("film[pictures]", "video", r"names no part of a file; write one of \[frames\], \[sound\], \[captions\]"),
        ("clip[frames]", "audio", "frames are made of footage, not of sound"),
        ("clip[both]", "audio", "both are made of footage, not of sound"),
        ("a,b", "video", "name one field"),
        ("{a} by {b}", "video", "name one field"),
        ("film[passages]", "video", r"write \[captions\]"),
        ("", "audio", "names no field"),
    ],
)
def test_what_makes_no_moments_is_refused_in_a_sentence(spec: str, modality: Any, said: str) -> None:
    with pytest.raises(MappingError, match=said):
        parse_target(spec, modality)


def test_the_command_line_says_what_a_moment_is() -> None:
    (shots,) = parse_targets({"video": ["film"]})
    (steps,) = parse_targets({"video": ["film"]}, moments="2.5")
    (fewer,) = parse_targets({"video": ["film"]}, most=50)
    (heard,) = parse_targets({"audio": ["clip"]}, most=50)
    assert (shots.cutting, steps.cutting) == (None, Cutting(shots=False, step_s=2.5))
    assert (fewer.cutting, heard.cutting) == (Cutting(most=50), Cutting(shots=False, most=50))
    assert parse_targets({"text": ["title"], "image": ["photo"]}, moments="3") == [
        TextField("title"),
        ImageField("photo"),
    ]
    for wrong in ("0", "-1", "nan", "inf", "often"):
        with pytest.raises(click.BadParameter, match="neither 'shots' nor"):
            parse_targets({"video": ["film"]}, moments=wrong)


def test_the_record_of_moments_is_of_a_version_that_others_refuse() -> None:
    plain = VectorField("t", "text", ("title",), "m", "f", 4, "flat")
    fields = [plain, footage(cutting=Cutting(shots=False, step_s=2.0, most=7))]
    meta = meta_update({}, Record().with_fields(fields))
    assert meta[META]["version"] == 4
    assert list(read_record({"_meta": meta}).fields.values()) == fields
    assert meta_update({}, Record().with_fields([plain]))[META]["version"] == 2


@pytest.mark.parametrize("change", [{"part": "smell"}, {"part": None}, {"cutting": {"faces": 1}}, {"cutting": None}])
def test_a_record_whose_moments_are_made_otherwise_is_refused(change: dict[str, Any]) -> None:
    meta = meta_update({}, Record().with_fields([footage()]))
    meta[META]["fields"]["v"] |= change
    with pytest.raises(MappingError, match="says what its moments are made of otherwise than known"):
        read_record({"_meta": meta})


def test_the_mapping_finds_moments_by_time_and_words() -> None:
    update = mapping_update({}, Record().with_fields([footage()]), [footage()])
    mapped = flat_properties(update)
    assert mapped["v"]["type"] == "nested"
    assert mapped["v.text"] == {"type": "text"}
    assert mapped["v.start"] == mapped["v.end"] == {"type": "integer"}
    assert mapped["crosslens.v.unfinished"] == {"type": "integer"}
    plain = VectorField("t", "text", ("title",), "m", "f", 4, "flat")
    assert "crosslens.t.unfinished" not in flat_properties(mapping_update({}, Record(), [plain]))


def test_what_a_target_leaves_open_is_as_the_field_has_it() -> None:
    mapping: dict[str, Any] = {"properties": {"film": {"type": "keyword"}}}
    how: dict[str, Any] = {"model": "m", "fingerprint": "f", "dims": 2}
    made = check_target("i", mapping, VideoField("film", of="sound", cutting=Cutting(most=9)), **how)
    mapping = mapping_update(mapping, Record().with_fields([made]), [made]) | {}
    assert check_target("i", mapping, VideoField("film"), **how) == made
    assert check_target("i", {}, AudioField("clip"), **how).cutting == Cutting(shots=False)
    assert check_target("i", {}, VideoField("film", of="frames"), **how).cutting == Cutting()
    with pytest.raises(MappingError, match=r"is made from video: film \(sound, each shot, at most 9\), not from"):
        check_target("i", mapping, VideoField("film", of="frames"), **how)


@dataclass(frozen=True)
class Model:
    """An encoder, as far as choosing one asks."""

    name: str
    encodes_images: bool = False
    encodes_audio: bool = False
    encodes_video: bool = False

    @property
    def fingerprint(self) -> str:
        return self.name


TEXT, CLIP = Model("text"), Model("clip", encodes_images=True)
CLAP, ALL = Model("clap", encodes_audio=True), Model("all", True, True, True)


@pytest.mark.parametrize(
    ("given", "modality", "part", "chosen"),
    [
        ([CLIP], "video", None, CLIP),
        ([CLIP], "video", "frames", CLIP),
        ([ALL], "video", None, ALL),
        ([CLIP, ALL], "video", None, ALL),
        ([CLIP, CLAP], "video", "sound", CLAP),
        ([CLIP, CLAP], "audio", None, CLAP),
        ([TEXT, CLIP], "video", "captions", TEXT),
        ([CLAP], "text", None, CLAP),
    ],
)
def test_each_part_is_made_by_a_model_that_reads_it(given: Any, modality: Any, part: Any, chosen: Model) -> None:
    assert Encoders(cast("list[VectorEncoder]", given)).for_new(modality, part) is chosen


@pytest.mark.parametrize(
    ("given", "modality", "part", "said"),
    [
        (TEXT, "video", "frames", "text is a text model, which encodes no pictures"),
        (CLIP, "video", "sound", "clip encodes no sounds; name a model with an audio encoder"),
        (CLIP, "audio", "sound", "clip encodes no sounds"),
        (CLIP, "video", "both", "clip encodes no footage; .* or encode its frames or its sound"),
        (CLAP, "video", None, "clap encodes no pictures"),
        (CLAP, "image", None, "clap encodes no pictures"),
    ],
)
def test_a_model_that_cant_read_a_part_is_named(given: Any, modality: Any, part: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Encoders([given]).for_new(modality, part)


def test_moments_longer_than_a_tower_hears_are_divided_evenly() -> None:
    assert windows([Moment(0, 1000), Moment(1000, 6000)], 2.0) == [
        Moment(0, 1000),
        Moment(1000, 2667),
        Moment(2667, 4333),
        Moment(4333, 6000),
    ]
    many = windows([Moment(0, 3_600_000)], 10.0)
    assert len(many) == 360
    assert max(each.end_ms - each.start_ms for each in many) <= 10_000


def test_a_caption_belongs_to_the_moment_that_most_of_it_is_in() -> None:
    moments = [Moment(0, 2000), Moment(2000, 4000), Moment(4000, 6000)]
    cues = [
        Cue(100, 900, "one"),
        Cue(1800, 3000, " two "),
        Cue(3900, 9000, "three"),
        Cue(1000, 1000, "at once"),
        Cue(5000, 5500, "  "),
        Cue(7000, 8000, "beyond"),
    ]
    assert words_by_moment(moments, cues) == ["one at once", "two", "three"]
    assert words_by_moment([], cues) == []


def test_captions_that_overlap_all_find_their_moments_in_time() -> None:
    moments = [Moment(i * 10, i * 10 + 10) for i in range(9_000)]
    words = words_by_moment(moments, [Cue(i * 9, i * 9 + 12, str(i)) for i in range(10_000)])
    assert sum(len((text or "").split()) for text in words) == 10_000


def test_moments_are_read_as_they_were_written() -> None:
    each = footage()
    made = [
        StoredMoment(0, Moment(0, 10), "a", "words", np.array([0.6, 0.8], np.float32)),
        StoredMoment(1, Moment(10, 20), "b"),
    ]
    stored = [moment.body(lambda vector: vector.tolist()) for moment in made]
    assert stored[1] == {"position": 1, "start": 10, "end": 20, "hash": "b"}
    document: dict[str, Any] = {
        "v": [*stored, {"vector": "AAAA"}, None],
        "crosslens": {"v": {"model": "f", "source": "s"}},
    }
    found = stored_moments(document, each)
    assert [(m.position, m.span, m.hash, m.text) for m in found] == [(m.position, m.span, m.hash, m.text) for m in made]
    assert np.array_equal(cast(Any, found[0].vector), cast(Any, made[0].vector))
    assert found[1].vector is None
    document["crosslens"]["v"]["model"] = "another"
    assert stored_moments(document, each) == []


def test_a_document_whose_moments_are_unfinished_is_taken_up_as_missing() -> None:
    each = footage()
    values = ["a.mp4"]
    state = {"model": "f", "source": source_hash(values, each)}
    document: dict[str, Any] = {"film": values[0], "crosslens": {"v": {**state, "unfinished": 3}}}
    assert inputs(document, each) == values
    assert standing(document, each) == "missing"
    here = Document("i", "1", None, Guard(1, 1), document)
    assert [task.check for task in selected(here, [each], Selection())] == [False]
    document["crosslens"]["v"] = state
    assert standing(document, each) == "done"
    assert selected(here, [each], Selection()) == []
    assert [task.check for task in selected(here, [each], Selection(missing=False, contents=True))] == [True]
    assert {"exists": {"field": "crosslens.v.unfinished"}} in missing_query(each, {"film"})["bool"]["should"]
    assert {"exists": {"field": "crosslens.v.unfinished"}} in done_query(each)["bool"]["must_not"]


def test_only_a_state_that_said_unfinished_says_that_it_isnt_any_more() -> None:
    """A strict mapping of fields without moments refuses even a null there."""
    state = State("s", "f", content="c")
    assert document_update({"v": state}, {}, {})["crosslens"]["v"] == {"source": "s", "model": "f", "content": "c"}
    for before, expected in (({"model": "f"}, False), ({"model": "f", "unfinished": 2}, True)):
        update = document_update({"v": state}, {}, {"crosslens": {"v": before}})["crosslens"]["v"]
        assert ("unfinished" in update) is expected
        assert update.get("unfinished") is None


def test_a_clip_is_seen_evenly_and_no_more_often_than_its_model_does() -> None:
    settings = VideoSettings(frames=4, fps=1.0, rate=None)
    assert clip_times(Moment(1000, 4000), settings) == [1500, 2500, 3500]
    assert clip_times(Moment(0, 8000), settings) == [1000, 3000, 5000, 7000]
    assert clip_times(Moment(0, 100), settings) == [50]


def test_too_many_moments_are_refused_with_what_to_do() -> None:
    said = refused(footage(), 12_000, "illegal_argument: The number of nested documents has exceeded the allowed limit")
    assert said.startswith("12,000 moments, with the document's other nested objects, are more than the index takes")
    assert "cut film into fewer moments a file" in said
