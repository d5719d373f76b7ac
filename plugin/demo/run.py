"""The guided demo: an ordinary text-only index of real pictures gains cross-modal hybrid search.

The pictures are of a vendor whose drawings the model never saw in training.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch, helpers
from rich.console import Console
from rich.rule import Rule

from crosslens.demo.build import DATA
from crosslens.errors import ImageError, MappingError
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL, remember
from crosslens.ingest.run.report import Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.progress import encoding_bar
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.page import write_page
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.queries.show.table import result_table, side_by_side, title_of, why

INDEX = "crosslens-demo"
TEXT_VECTOR, IMAGE_VECTOR = "name_vector", "image_vector"
QUERIES = ("penguin", "musical instrument", "running shoe")
PICTURES = ("guitar", "bicycle")
_ROWS = 6
_MARK = "crosslens_demo"


def run(client: Elasticsearch, html: Path, *, device: str = "auto") -> None:
    """Run the demo against the cluster of ``client`` and write a page with its pictures to ``html``; ``device`` as
    `Encoder` takes it."""
    console = Console()
    items = load_items()
    _step(console, 1, f"an ordinary index: {len(items)} items with a name, keywords, a category and a picture's path")
    create_index(client, items)
    wordless = sum(1 for item in items if item["name"].startswith("Item "))
    console.print(f"{wordless} items have no name but a stock number; only their pictures show what they are.")

    _step(console, 2, "keyword search, as the index has it")
    first = QUERIES[0]
    matches = _keyword_names(client, first)
    console.print(f"[bold]{first}[/bold] finds {len(matches)} items by keyword: {', '.join(matches) or 'none'}")

    encoder = Encoder(DEMO_MODEL, device=device)
    remember(DEMO_MODEL, encoder.fingerprint)
    _step(console, 3, f"crosslens add: vectors of every text and picture ({encoder.name}, {encoder.dims} dims)")
    report = add(client, encoder, console)
    total = sum(report.written.values())
    if report.failures:
        raise ImageError(f"{len(report.failures)} of the demo's pictures failed: {report.failures[0].reason}")
    console.print(f"{total} vectors in {report.seconds:.1f} s; a second run would find nothing to do.")

    # The keyword leg already matches the items' texts; picture vectors find items without words.
    searcher = HybridSearcher(client, INDEX, encoder, fields=[IMAGE_VECTOR])
    sections: list[tuple[str, SearchResult]] = []
    _step(console, 4, "words find pictures: the same query by keyword, by vector, and hybrid")
    for text in QUERIES:
        compared = compare(searcher, text)
        console.print(side_by_side(compared, f'"{text}"', _ROWS, label=_label))
        sections += [(f'"{text}", {name}', result) for name, result in compared.items()]
    _step(console, 5, "why a result ranks where it does")
    explained = searcher.search(QUERIES[-1], size=_ROWS)
    console.print(result_table(explained, f'"{QUERIES[-1]}", hybrid'))
    console.print(f"{_label(explained.hits[0])} is first: {why(explained.hits[0], whole=True)}.", highlight=False)

    _step(console, 6, "pictures find pictures, and words (the query pictures are another vendor's drawings)")
    words = HybridSearcher(client, INDEX, encoder, fields=[TEXT_VECTOR])
    for name in PICTURES:
        path = DATA / "queries" / f"{name}.png"
        found = {
            "image -> image": searcher.search(image=path, size=_ROWS),
            "image -> text": words.search(image=path, size=_ROWS),
        }
        console.print(side_by_side(found, path.name, _ROWS, label=_label))
        sections += [(f"{path.name}, {kind}", result) for kind, result in found.items()]

    write_page(
        html,
        sections,
        searcher.fields.values(),
        ImageAccess(root=DATA).reader(),
        heading="crosslens demo",
        intro=f"{len(items)} emoji of a vendor whose drawings the model never saw. Items named by a stock number have "
        "no words at all: only their picture can be found. The bar shows each leg's share of the score.",
    )
    _step(console, 7, "what to type next")
    root, picture = shlex.quote(str(DATA)), shlex.quote(str(DATA / "queries" / "guitar.png"))
    program = _program()
    for command in (
        f'{program} search {INDEX} "mushroom" --field {IMAGE_VECTOR}',
        f"{program} search {INDEX} --image {picture} --html found.html --image-root {root}",
        f'{program} search {INDEX} "red fruit" --weights keyword=2,{IMAGE_VECTOR}=1,{TEXT_VECTOR}=0',
        f"{program} serve {INDEX} --image-root {root}",
        f"{program} node stop",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"The pictures of all these results: {html}", highlight=False, soft_wrap=True)


def load_items() -> list[dict[str, Any]]:
    """Return the demo's catalogue."""
    return [json.loads(line) for line in (DATA / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()]


def create_index(client: Elasticsearch, items: list[dict[str, Any]], index: str = INDEX) -> None:
    """Recreate the index as a shop would have it: texts, a category, a picture's path, and no vectors.

    Raises `MappingError` when an index of that name exists that the demo didn't make.
    """
    if client.indices.exists(index=index):
        meta = next(iter(client.indices.get_mapping(index=index).values()))["mappings"].get("_meta") or {}
        if not meta.get(_MARK):
            raise MappingError(f"an index named {index!r} exists that the demo didn't make; it is left alone")
        client.indices.delete(index=index)
    client.indices.create(
        index=index,
        mappings={
            "_meta": {_MARK: True},
            "properties": {
                "name": {"type": "text"},
                "keywords": {"type": "text"},
                "sku": {"type": "keyword"},
                "category": {"type": "keyword"},
                "image": {"type": "keyword"},
            },
        },
        settings={"number_of_replicas": 0},
    )
    actions = ({"_index": index, "_id": i["id"], **{k: v for k, v in i.items() if k != "id"}} for i in items)
    helpers.bulk(client, actions, refresh=True)


def add(client: Elasticsearch, encoder: Encoder, console: Console, index: str = INDEX) -> Report:
    """Add vectors as ``crosslens add`` does, with progress on ``console``."""
    targets = [Target(TEXT_VECTOR, "text", ("name", "keywords")), Target(IMAGE_VECTOR, "image", ("image",))]
    with encoding_bar(console) as progress:
        return add_vectors(client, index, encoder, targets, Options(images=ImageAccess(root=DATA)), progress=progress)


def compare(searcher: HybridSearcher, text: str) -> dict[str, SearchResult]:
    """Search for the same text by keyword alone, by the pictures' vectors alone, and by both."""
    return {
        "keyword": searcher.search(text, size=_ROWS, legs=["keyword"]),
        "vector": searcher.search(text, size=_ROWS, legs=[IMAGE_VECTOR]),
        "hybrid": searcher.search(text, size=_ROWS),
    }


def _keyword_names(client: Elasticsearch, text: str) -> list[str]:
    found = client.search(index=INDEX, query={"multi_match": {"query": text, "fields": ["name", "keywords"]}}, size=20)
    return [hit["_source"]["name"] for hit in found["hits"]["hits"]]


def _program() -> str:
    """Return how to call crosslens from here: by name, or by its place in an environment that isn't activated."""
    if shutil.which("crosslens"):
        return "crosslens"
    place = Path(sys.executable).parent / "crosslens"
    return shlex.quote(os.path.relpath(place)) if place.exists() else f"{shlex.quote(sys.executable)} -m crosslens.cli"


def _label(hit: Hit) -> str:
    """Return the item's title with the character that its picture draws, for a terminal that can't show the picture."""
    character = "".join(chr(int(code, 16)) for code in hit.id.split("-"))
    return f"{title_of(hit)} {character}"


def _step(console: Console, number: int, title: str) -> None:
    console.print()
    console.print(Rule(f"{number}. {title}", align="left", style="dim"))
