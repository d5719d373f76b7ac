"""Texts of any length: sentences by Unicode's rules, passages that the model reads whole, and what an index keeps."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from crosslens import HybridSearcher, Index, TextField, add_vectors, reindex, survey
from crosslens.errors import MappingError, TextError
from crosslens.ingest.contract.ingest_pipeline import processors, put_pipeline
from crosslens.ingest.contract.record import META, VectorField, meta_update, read_record
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.targets import parse_target
from crosslens.ingest.model.cluster import ClusterModel
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.passages import MOST_PASSAGES, Passage, passages
from crosslens.ingest.model.sentences import sentences
from crosslens.ingest.run.run import Options
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.show.page import write_page
from crosslens.queries.show.table import result_table
from tests.conftest import Server
from tests.ingest.exactness import all_documents
from tests.plugin.test_cli import run

WORDS = [
    "red",
    "blue",
    "shoe",
    "hat",
    "lamp",
    "table",
    "chair",
    "window",
    "garden",
    "river",
    "stone",
    "bird",
    "cat",
    "dog",
    "house",
    "boat",
    "train",
]


def prose(count: int, seed: int = 0) -> str:
    """Text of ``count`` words in sentences, each of which is another one."""
    rng = random.Random(seed)
    said = []
    while count > 0:
        size = min(count, rng.randint(4, 12))
        said.append(" ".join(rng.choices(WORDS, k=size)).capitalize() + rng.choice((".", ".", "!", "?")))
        count -= size
    return " ".join(said)


def words(texts: Any) -> list[int]:
    return [len(text.split()) for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you? I'm fine!", ["Hello there.", "How are you?", "I'm fine!"]),
        ("It costs 3.4 kg. e.g. this, etc. and more. Then?", ["It costs 3.4 kg. e.g. this, etc. and more.", "Then?"]),
        ("the U.S.A. Army", ["the U.S.A.", "Army"]),
        ("He said (yes.) Then left.", ["He said (yes.)", "Then left."]),
        ("Wait... and more... More", ["Wait... and more...", "More"]),
        ("What?! No.", ["What?!", "No."]),
        ("One, two; three. , four", ["One, two; three. , four"]),
        ("第一句。第二句！第三句", ["第一句。", "第二句！", "第三句"]),
        ("مرحبا بك. كيف حالك؟ أنا بخير", ["مرحبا بك.", "كيف حالك؟", "أنا بخير"]),
        ("यह एक है। वह दो है।", ["यह एक है।", "वह दो है।"]),
        ("One\n\n  Two.\r\nThree\u2029Four", ["One", "Two.", "Three", "Four"]),
        ("A e\u0301. \u0301b. B\u200d. C", ["A e\u0301. \u0301b.", "B\u200d.", "C"]),
        ("ไม่มีจุด และยาว", ["ไม่มีจุด และยาว"]),
        ("", []),
        (" \n\t ", []),
        (".", ["."]),
    ],
)
def test_sentences_end_by_unicodes_rules(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.sampled_from('aB1.!?,\u0301 \n\r\u2028"(')), st.integers(1, 12))
def test_passages_lose_nothing_and_fit(text: str, most: int) -> None:
    made = passages(text, lambda texts: [len("".join(each.split())) for each in texts], most)
    covered = set()
    for each in made:
        piece = text[each.start : each.end]
        assert piece == piece.strip() != ""
        assert len("".join(piece.split())) <= most
        covered |= set(range(each.start, each.end))
    assert {i for i, character in enumerate(text) if not character.isspace()} <= covered
    assert made == sorted(made, key=lambda each: (each.start, each.end))
    assert len(set(made)) == len(made)


def test_passages_end_where_sentences_do_and_overlap_by_one() -> None:
    text = prose(300)
    ends = {end for _, end in sentences(text)}
    starts = [start for start, _ in sentences(text)]
    made = passages(text, words, 40)
    assert len(made) > 5
    assert all(each.end in ends and each.start in starts for each in made)
    for before, after in pairwise(made):
        last = max(start for start in starts if start < before.end)
        assert after.start == last


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("word " * 10_000, 200, 600),
        ("a" * 10_000, 1, 4),
        ("東京の写真" * 2_000, 30, 10_001),
        ("\u202e" + "שלום " * 5_000, 100, 600),
        ("." * 5_000, 1, 5_000),
    ],
)
def test_a_text_without_sentences_is_halved_until_it_fits(text: str, least: int, most: int) -> None:
    made = passages(text, words, 50)
    if least > 1 and " " not in text:
        made = passages(text, lambda texts: [len(each) for each in texts], 50)
    assert least <= len(made) <= most
    assert made[0].start == 0


def test_a_text_of_too_many_passages_is_refused() -> None:
    with pytest.raises(TextError, match=f"more than {MOST_PASSAGES} passages; split the document"):
        passages("A. " * (MOST_PASSAGES + 1), lambda texts: [2 for _ in texts], 2)


def test_long_texts_take_bounded_memory() -> None:
    text = prose(100_000)
    tracemalloc.start()
    started = time.monotonic()
    made = passages(text, words, 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 500 < len(made) < 800
    # The classes of one paragraph, of which the text has one, and the places of its units.
    assert peak < 120 * len(text), f"{peak} bytes in {time.monotonic() - started:.1f} s"


@pytest.mark.export
def test_a_models_passages_are_read_whole_whatever_the_text(models: Path) -> None:
    from tests.server.test_models import multilingual_texts

    for name in ("text", "small"):
        encoder = Encoder(models / name)
        assert encoder.lost([prose(2_000)])[0] > 0.5
        for text in (*multilingual_texts(200), prose(2_000), "x" * 5_000, "é" * 3_000):
            made = encoder.passages(text)
            assert made or not text.strip()
            assert not any(encoder.lost([text[each.start : each.end] for each in made])), text[:80]


def test_the_record_of_passages_is_of_a_version_that_others_refuse() -> None:
    plain = VectorField("t", "text", ("title",), "m", "f", 4, "flat")
    body = VectorField("b", "text", ("body",), "m", "f", 4, "flat", each=True, passages=True)
    for fields, version in (([plain], 2), ([plain, body], 3)):
        meta = meta_update({}, read_record({}).with_fields(fields))
        assert meta[META]["version"] == version
        assert list(read_record({"_meta": meta}).fields.values()) == fields


def test_a_field_of_passages_is_written_in_two_ways_and_has_one_source() -> None:
    assert parse_target("body[passages]", "text") == TextField("body", passages=True)
    assert parse_target("b=body[passages]", "text") == TextField("body", passages=True, name="b")
    for spec, modality in (("a,b[passages]", "text"), ("photo[passages]", "image")):
        with pytest.raises(MappingError):
            parse_target(spec, modality)  # type: ignore[arg-type]


def test_the_server_plugin_is_asked_for_passages() -> None:
    plain = VectorField("t", "text", ("title",), "m", "f", 4, "flat")
    body = VectorField("b", "text", ("body",), "m", "f", 4, "flat", each=True, passages=True)
    made = [each["crosslens"] for each in processors([plain, body])]
    assert [(each["field"], each.get("passages"), each.get("each")) for each in made] == [
        ("t", None, None),
        ("b", True, None),
    ]


def test_a_text_of_which_a_tokenizer_makes_nothing_is_cut_by_its_characters() -> None:
    counted: list[int] = []

    def nothing(texts: Sequence[str]) -> list[int]:
        counted.append(sum(map(len, texts)))
        return [0 for _ in texts]

    for text in ("\u200b" * 200_000, "\u200b\n" * 100_000):
        made = passages(text, nothing, 100)
        assert all(each.end - each.start <= 6_400 for each in made)
        assert made[-1].end == len(text.rstrip())
    # However many the sentences are, what is counted at once is bounded.
    assert max(counted) <= (1 << 16) + 6_400


MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {"title": {"type": "text"}, "body": {"type": "text"}, "notes": {"type": "text"}},
}
# Quantised, the small model's vectors, which lie close together, might change places.
BODY = TextField("body", passages=True, index_type="hnsw")


def stored(server: Server, index: str, id: str) -> list[dict[str, Any]]:
    entries = all_documents(server, index)[id].get("body_vector") or []
    assert isinstance(entries, list)
    return entries


@pytest.mark.node
@pytest.mark.export
def test_every_passage_has_its_vector_and_a_search_shows_the_best_one(
    server: Server, encoder: Encoder, tmp_path: Path
) -> None:
    planted = "A purple submarine sings to eleven quiet astronomers."
    parts = [prose(400, 1), planted, prose(400, 2)]
    documents: list[dict[str, Any]] = [
        {"title": "planted", "body": "  " + " ".join(parts)},
        {"title": "other", "body": prose(500, 3)},
        {"title": "several", "body": [prose(90, 4), "", prose(90, 5)]},
        {"title": "none"},
    ]
    index = server.new_index(MAPPINGS, documents)
    report = add_vectors(server.client, index, encoder, [BODY])
    assert (report.written, report.skipped, report.failures) == ({"body_vector": 3}, {}, [])
    for id, document in enumerate(documents[:3]):
        values = document["body"] if isinstance(document["body"], list) else [document["body"]]
        values = [value for value in values if value]
        entries = stored(server, index, str(id))
        assert {each["position"] for each in entries} == set(range(len(values)))
        texts = [values[each["position"]][each["start"] : each["end"]] for each in entries]
        assert np.allclose([each["vector"] for each in entries], encoder.encode_texts(texts), atol=1e-5)
        made = [(i, each) for i, value in enumerate(values) for each in encoder.passages(value)]
        assert [(each["position"], Passage(each["start"], each["end"])) for each in entries] == made
    searcher = HybridSearcher(server.client, index, encoder, text_fields=[])
    # The passage's own words as a query come nearest to it.
    wanted = next(
        each for each in stored(server, index, "0") if planted in documents[0]["body"][each["start"] : each["end"]]
    )
    words_of = documents[0]["body"][wanted["start"] : wanted["end"]]
    hit = searcher.search(words_of).hits[0]
    assert hit.id == "0"
    assert hit.matched["body_vector"] == {
        "position": 0,
        "start": wanted["start"],
        "end": wanted["end"],
        "text": words_of,
    }
    console = Console(width=160, record=True)
    result = searcher.search(words_of)
    console.print(result_table(result, "a search"))
    assert words_of[:30] in " ".join(console.export_text().split())
    write_page(tmp_path / "page.html", [("a search", result)], searcher.fields.values(), ImageAccess().reader())
    assert words_of[:60] in (tmp_path / "page.html").read_text(encoding="utf-8")
    without = searcher.search(words_of, source=["title"]).hits[0]
    assert without.matched["body_vector"] == {"position": 0, "start": wanted["start"], "end": wanted["end"]}


@pytest.mark.node
@pytest.mark.export
def test_a_changed_sentence_encodes_its_passages_and_no_others(
    server: Server, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = prose(900, 6)
    index = server.new_index(MAPPINGS, [{"body": body}])
    add_vectors(server.client, index, encoder, [BODY])
    before = stored(server, index, "0")
    middle = list(sentences(body))[len(list(sentences(body))) // 2]
    changed = body[: middle[0]] + "Something else stands here now." + body[middle[1] :]
    server.client.update(index=index, id="0", doc={"body": changed}, refresh=True)
    encoded: list[str] = []
    really = Encoder.encode_texts

    def counted(self: Encoder, texts: Any, **how: Any) -> Any:
        encoded.extend(texts)
        return really(self, texts, **how)

    monkeypatch.setattr(Encoder, "encode_texts", counted)
    report = reindex(server.client, index, encoder, Options(Selection(missing=False, stale=True)))
    monkeypatch.undo()
    assert report.written == {"body_vector": 1}
    after = stored(server, index, "0")
    assert 0 < len(encoded) < len(before) / 2, (len(encoded), len(before))
    texts = [changed[each["start"] : each["end"]] for each in after]
    assert np.allclose([each["vector"] for each in after], encoder.encode_texts(texts), atol=1e-4)
    report = reindex(server.client, index, encoder, Options(Selection(stale=True)))
    assert report.written == {}


@pytest.mark.node
@pytest.mark.export
def test_texts_that_are_cut_are_counted_and_said(server: Server, encoder: Encoder, models: Path) -> None:
    documents = [
        {"title": "a red hat", "body": "a blue shoe"},
        {"title": "long", "body": prose(800)},
        {"body": prose(160)},
    ]
    index = server.new_index(MAPPINGS, documents)
    told = ["--url", server.node.url, "--model", str(models / "small")]
    looked = run("add", index, "--text", "body", *told, "--dry-run")
    assert "body_vector: 2 texts are longer than the model reads, and" in looked.stdout, looked.stderr
    added = run("add", index, "--text", "body", "--text", "title", *told, "--json")
    report = json.loads(added.stdout)
    assert report["cut"] == {"body_vector": 2}
    assert 0.5 < report["lost"]["body_vector"] / 2 < 0.95
    found = survey(server.client, index).fields
    assert (found["body_vector"].cut, found["title_vector"].cut) == (2, 0)
    assert found["body_vector"].lost == pytest.approx(report["lost"]["body_vector"], abs=0.01)
    assert survey(server.client, index, quick=True).fields["body_vector"].cut == 2
    said = run("status", index, "--url", server.node.url)
    assert "2 texts are longer than the model reads" in said.stdout
    assert "--text 'body[passages]' keeps all" in " ".join(said.stdout.split())
    server.client.update(index=index, id="1", doc={"body": "short"}, refresh=True)
    reindex(server.client, index, encoder, Options(Selection(stale=True)))
    assert survey(server.client, index).fields["body_vector"].cut == 1


@pytest.mark.node
@pytest.mark.export
def test_a_pipeline_has_no_passages_where_the_plugin_is_too_old_for_them(
    server: Server, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = server.new_index(MAPPINGS, [{"body": "a"}])
    add_vectors(server.client, index, encoder, [BODY])

    def fields() -> list[str]:
        _, made = put_pipeline(server.client, index, dry_run=True)
        return [each["crosslens"]["field"] for each in made["processors"]]

    assert fields() == ["body_vector"]
    # What a node with a plugin of 0.3 says of its models.
    said = ClusterModel("small", encoder.fingerprint, encoder.dims, ("node",), (), passages=False)
    monkeypatch.setattr("crosslens.ingest.contract.pipeline_needs.cluster_models", lambda client: [said])
    with pytest.raises(MappingError, match="plugin is too old to make passages, which is all that body_vector of"):
        fields()
    add_vectors(server.client, index, encoder, [TextField("title")])
    assert fields() == ["title_vector"]
    assert f"too old to make passages: body_vector of {index} is left to reindex" in caplog.text


@pytest.mark.node
@pytest.mark.export
def test_a_text_of_too_many_passages_fails_its_document_only(
    server: Server, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosslens.ingest.model.passages.MOST_PASSAGES", 3)
    index = server.new_index(MAPPINGS, [{"body": prose(900)}, {"body": "A blue shoe."}])
    opened = Index(index, client=server.client, model=encoder)
    report = opened.add(BODY)
    assert report.written == {"body_vector": 1}
    assert "more than 3 passages" in report.failures[0].reason
