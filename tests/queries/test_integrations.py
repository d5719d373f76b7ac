"""In other people's code: LangChain, Haystack, and plain requests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from crosslens.client import Connection
from crosslens.errors import QueryError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.integrations.contents import contents
from crosslens.queries.search.async_searcher import AsyncHybridSearcher
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.result import Hit
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def searcher(server: Server, encoder: Encoder, pictures: Path) -> HybridSearcher:
    index = server.new_index(MAPPINGS, shop(40))
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    return HybridSearcher(server.client, index, encoder)


def test_the_langchain_retriever_is_one_of_langchains_own(searcher: HybridSearcher) -> None:
    pytest.importorskip("langchain_core", reason="the extra 'langchain' is not installed")
    from langchain_core.retrievers import BaseRetriever

    from crosslens.queries.integrations.langchain import CrosslensRetriever

    retriever = CrosslensRetriever(searcher=searcher, content_field="title", k=3, options={"weights": {"keyword": 3}})
    assert isinstance(retriever, BaseRetriever)
    found = retriever.invoke("shoe number 7")
    expected = searcher.search("shoe number 7", size=3, weights={"keyword": 3}).hits
    assert [d.id for d in found] == [hit.id for hit in expected]
    assert found[0].page_content == expected[0].source["title"]
    assert found[0].metadata["_score"] == expected[0].score
    assert found[0].metadata["price"] == expected[0].source["price"]
    # As every runnable: in batches, and in chains.
    assert len(retriever.batch(["shoe", "number 3"])) == 2
    assert (retriever | (lambda documents: len(documents))).invoke("shoe") == 3


def test_the_langchain_retriever_takes_k_and_options_of_a_call(searcher: HybridSearcher) -> None:
    pytest.importorskip("langchain_core", reason="the extra 'langchain' is not installed")
    from crosslens.queries.integrations.langchain import CrosslensRetriever

    retriever = CrosslensRetriever(searcher=searcher, k=3)
    assert len(retriever.invoke("shoe number 7", k=7)) == 7
    cheap = retriever.invoke("shoe number 7", k=9, filter={"range": {"price": {"lt": 4}}})
    assert {document.id for document in cheap} == {"0", "1", "2", "3"}
    assert len(asyncio.run(retriever.ainvoke("shoe number 7", k=5))) == 5


def test_the_langchain_retriever_searches_asynchronously(server: Server, encoder: Encoder, searcher: Any) -> None:
    pytest.importorskip("langchain_core", reason="the extra 'langchain' is not installed")
    from crosslens.async_client import connect_async
    from crosslens.queries.integrations.langchain import CrosslensRetriever

    async def found() -> list[str]:
        client = await connect_async(Connection(url=server.node.url))
        try:
            retriever = CrosslensRetriever(async_searcher=AsyncHybridSearcher(client, searcher.index, encoder), k=4)
            with pytest.raises(QueryError, match="only an asynchronous searcher"):
                retriever.invoke("shoe")
            return [str(document.id) for document in await retriever.ainvoke("shoe number 7")]
        finally:
            await client.close()

    assert asyncio.run(found()) == [hit.id for hit in searcher.search("shoe number 7", size=4).hits]


def test_contents_are_read_by_path_and_a_field_that_no_document_has_is_an_error() -> None:
    def hit(**source: Any) -> Hit:
        return Hit("shop", "1", 0.5, {}, source)

    assert contents([hit(title={"text": "Hat", "lang": "en"})], "title.text") == ["Hat"]
    assert contents([hit(**{"title.text": "Hat"}), hit()], "title.text") == ["Hat", ""]
    assert contents([hit(parts=[{"text": "a"}, {"text": "b"}])], "parts.text") == ["a\nb"]
    assert contents([hit(title="half \ud83d")], "title") == ["half \ufffd"]
    assert contents([], "absent") == []
    with pytest.raises(QueryError, match="none of the documents found has the field 'titel'; their fields are: title"):
        contents([hit(title="Hat")], "titel")


def test_a_haystack_pipeline_is_saved_without_secrets_and_loaded(
    server: Server, searcher: HybridSearcher, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystack = pytest.importorskip("haystack", reason="the extra 'haystack' is not installed")
    from haystack.core.errors import SerializationError
    from haystack.utils import Secret

    from crosslens.queries.integrations.haystack import CrosslensRetriever

    monkeypatch.setenv("SHOP_KEY", "s3cret")
    pipeline = haystack.Pipeline()
    retriever = CrosslensRetriever(
        index=searcher.index,
        url=server.node.url,
        model=str(models / "small"),
        api_key=Secret.from_env_var("SHOP_KEY", strict=False),
        content_field="title",
        top_k=4,
    )
    pipeline.add_component("retriever", retriever)
    saved = pipeline.dumps()
    assert "s3cret" not in saved
    monkeypatch.delenv("SHOP_KEY")
    loaded = haystack.Pipeline.loads(saved, allowed_modules=[CrosslensRetriever.__module__])
    found = loaded.run({"retriever": {"query": "shoe number 7"}})["retriever"]["documents"]
    assert [d.content for d in found] == [hit.source["title"] for hit in searcher.search("shoe number 7", size=4).hits]
    assert loaded.dumps() == saved
    with pytest.raises(SerializationError, match="can't be saved"):
        CrosslensRetriever(searcher).to_dict()
    with pytest.raises(QueryError, match="a searcher or the name of an index"):
        CrosslensRetriever()


def test_the_haystack_component_runs_in_a_pipeline(searcher: HybridSearcher) -> None:
    haystack = pytest.importorskip("haystack", reason="the extra 'haystack' is not installed")
    from crosslens.queries.integrations.haystack import CrosslensRetriever

    pipeline = haystack.Pipeline()
    pipeline.add_component("retriever", CrosslensRetriever(searcher, content_field="title", top_k=4))
    result = pipeline.run({"retriever": {"query": "shoe number 7"}})["retriever"]["documents"]
    expected = searcher.search("shoe number 7", size=4).hits
    assert [d.content for d in result] == [hit.source["title"] for hit in expected]
    assert [d.score for d in result] == [hit.score for hit in expected]
    assert len(pipeline.run({"retriever": {"query": "shoe", "top_k": 2}})["retriever"]["documents"]) == 2


def test_each_legs_plain_request_gives_the_legs_own_scores(server: Server, searcher: HybridSearcher) -> None:
    filters = {"range": {"price": {"lt": 30}}}
    bodies = searcher.to_body("shoe number 7", filter=filters)
    result = searcher.search("shoe number 7", filter=filters, complete=False, size=100)
    for name, body in bodies["legs"].items():
        hits = server.client.search(index=searcher.index, body=body)["hits"]["hits"]
        plain = {hit["_id"]: hit["_score"] if name == "keyword" else 2 * hit["_score"] - 1 for hit in hits}
        ours = {hit.id: hit.parts[name].raw for hit in result.hits if hit.parts[name].raw is not None}
        # JSON prints a float in fewer digits than it has.
        assert plain == pytest.approx(ours, abs=1e-6)


def test_native_retrievers_are_understood_by_the_server_up_to_their_licence(
    server: Server, searcher: HybridSearcher
) -> None:
    bodies = searcher.to_body("shoe", weights={"keyword": 2}, size=5)
    assert [each["weight"] for each in bodies["linear"]["retriever"]["linear"]["retrievers"]] == [2, 1.0, 1.0]
    assert bodies["rrf"]["retriever"]["rrf"]["rank_window_size"] == 100
    # The retrievers that these are made of are free, and run as they stand.
    for retriever in bodies["rrf"]["retriever"]["rrf"]["retrievers"]:
        assert server.client.search(index=searcher.index, body={"retriever": retriever})["hits"]["hits"]
