"""Captions that suit documents' pictures, looked for among captions that the index's owner has already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.errors import LabelError
from crosslens.ingest.contract.documents import source_values
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.fields import check_sources, choose, holders, read_mappings
from crosslens.ingest.contract.labels import MOST_CAPTIONS, Label
from crosslens.ingest.contract.selection import done_query, narrowed
from crosslens.ingest.run.label import Wanted, label_set
from crosslens.ingest.run.labelling import found_in
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.run import Run
from crosslens.stopping import stoppable

DEFAULT_LIMIT = 100
_LONGEST = 1_000


@dataclass(frozen=True)
class Suggestion:
    """Captions for a document, best first, with their standardised scores; none where no caption stands out."""

    index: str
    id: str
    captions: list[tuple[str, float]]


def captions_in(client: Elasticsearch, index: str, field: str) -> list[str]:
    """The values of a text field of all documents of an index, each once, up to 50,000.

    Values longer than 1,000 characters are no captions, and are left out. Raises `MappingError` where there is no such
    index or field, `LabelError` where it holds no caption or too many.
    """
    run = Run.begin(client, index)
    check_sources(run.client, index, read_mappings(run.client, index), [field])
    found: dict[str, None] = {}
    for page in prefetched(Reader(run.client, index, [field]).pages({"match_all": {}})):
        for document in page:
            found |= dict.fromkeys(v.strip() for v in source_values(document.source, field) if len(v) <= _LONGEST)
        if len(found) > MOST_CAPTIONS:
            raise LabelError(f"{index}:{field} holds more than {MOST_CAPTIONS} captions", hint="choose among them")
    if not found:
        raise LabelError(f"{index}:{field} holds no caption")
    return list(found)


@stoppable
def suggest(
    client: Elasticsearch,
    index: str,
    encoder: VectorEncoder | Encoders | Sequence[VectorEncoder] | None,
    field: str,
    wanted: Wanted,
    *,
    most: int = 3,
    limit: int = DEFAULT_LIMIT,
    query: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Suggestion]:
    """The nearest captions of ``limit`` documents (that meet ``query``), up to ``most`` of each; nothing is written.

    Raises as `crosslens.ingest.run.label.label` does.
    """
    run = Run.begin(client, index)
    mappings = run.mappings()
    each = choose(index, mappings, [field])[field]
    having = holders(mappings, field)
    labels, _ = label_set(run, having, each, Encoders.of(encoder), "", "caption", wanted)
    found: list[Suggestion] = []
    for name, here in having.items():
        reader = Reader(run.client, name, [here.path], vectors=True)
        meant = narrowed(done_query(here), None if query is None else dict(query))
        pages = prefetched(reader.pages(meant))
        for page in pages:
            for document, captions in found_in(page[: limit - len(found)], here, labels, most=most):
                found.append(Suggestion(document.index, document.id, [(c, round(s, 3)) for c, s in captions or ()]))
            progress(len(found), limit)
            if len(found) >= limit:
                return found
    return found


def wanted_captions(captions: Sequence[str], *, false_alarms: float, floor: float | None = None) -> Wanted:
    """What `label` and `suggest` take, of captions. Raises `LabelError` where there are none, or too many."""
    texts = list(dict.fromkeys(caption.strip() for caption in captions if caption.strip()))
    if not texts or len(texts) > MOST_CAPTIONS:
        raise LabelError(f"{len(texts)} captions were given; give 1 to {MOST_CAPTIONS}")
    return Wanted(tuple(map(Label, texts)), false_alarms=false_alarms, floor=floor, captions=True)
