"""What a document says of the labels that it was given, beside what its owner says in the same field.

Under ``crosslens.FIELD`` (the field that labels are written to) stand the label set's fingerprint (``labels``), which
vector they are of (``vector``), those that were ``found`` with their ``scores``, those that crosslens put into the
field (``given``), and those that it had put there and somebody took away again (``refused``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crosslens.ingest.contract.documents import obstacle, source_values, state_of, value_at, without
from crosslens.ingest.contract.label_set import Found, Kind
from crosslens.ingest.contract.mapping import nest
from crosslens.ingest.contract.record import STATE, VectorField
from crosslens.ingest.contract.selection import Query, any_of, encoded_query
from crosslens.ingest.sources.hashing import content_hash

STATE_PROPERTIES: dict[str, Any] = {
    "labels": {"type": "keyword"},
    "vector": {"type": "keyword", "index": False, "doc_values": False},
    "found": {"type": "keyword", "ignore_above": 1024},
    "scores": {"type": "float"},
    "given": {"type": "keyword", "index": False, "doc_values": False},
    "refused": {"type": "keyword", "ignore_above": 1024},
}


def label_state(document: Mapping[str, Any], into: str) -> dict[str, Any]:
    """What a document records of the labels in its field ``into``; empty where it was never given any."""
    node = value_at(document, f"{STATE}.{into}")
    return node if isinstance(node, dict) and node.get("labels") else {}


def vector_identity(document: Mapping[str, Any], each: VectorField) -> str:
    """What changes whenever the document's vector does: a hash of its state's source, content and model."""
    state = state_of(document, each.path) or {}
    parts = [str(state.get(name) or "") for name in ("source", "content", "model")]
    return content_hash("\0".join(parts).encode())


def why_not(document: Mapping[str, Any], into: str) -> str | None:
    """Why labels can't be written into this document; None where they can."""
    for path in (into, f"{STATE}.{into}"):
        blocked = obstacle(document, path)
        if blocked is not None:
            return f"{blocked!r} isn't an object in this document, so {path!r} can't be stored in it"
    if value_at(document, into) is None and source_values(document, into):
        return f"this document writes {into!r} with dots in its keys, or in an array of objects"
    return None


def labelled(
    document: Mapping[str, Any], into: str, kind: Kind, found: Found, *, labels: str | None, vector: str
) -> dict[str, Any]:
    """The partial document that gives a document what was ``found``, and says so.

    The owner's own values stay, before those given. Of a field with a single value (all kinds but "keyword") an own
    value keeps its place. What was given before and isn't there any more was refused, and is not given again. Without
    ``labels`` (and what is found) the document has no vector any more, and its state goes.
    """
    before, present = label_state(document, into), value_at(document, into)
    given, refused = list(before.get("given") or ()), list(before.get("refused") or ())
    values = _listed(present, kind)
    words = {_word(value) for value in values}
    refused = [
        each for each in dict.fromkeys([*refused, *(one for one in given if one not in words)]) if each not in words
    ]
    own = [value for value in values if _word(value) not in given]
    single = kind != "keyword"
    wanted = [] if single and own else _wanted(kind, found)
    new = [each for each in wanted if _word(each) not in {*refused, *map(_word, own)}]
    value: Any = [*own, *new] or None
    if single and value:
        value = value[0]
    update: dict[str, Any] = {}
    if [*own, *new] != values:
        nest(update, into, value)
    state: dict[str, Any] | None = {
        "labels": labels,
        "vector": vector,
        "found": [name for name, _ in found],
        "scores": [round(score, 3) for _, score in found],
        "given": [_word(each) for each in new],
        "refused": refused,
    }
    nest(update, f"{STATE}.{into}", state if labels is not None else None)
    return update


def unlabelled(document: Mapping[str, Any], into: str, kind: Kind) -> dict[str, Any]:
    """The whole document without the values that it was given, and what it says of them."""
    given = set(label_state(document, into).get("given") or ())
    kept = without(document, [f"{STATE}.{into}"])
    present = value_at(document, into)
    own = [value for value in _listed(present, kind) if _word(value) not in given]
    if present is not None and len(own) == len(_listed(present, kind)):
        return kept
    kept = without(kept, [into])
    if own:
        kept = json.loads(json.dumps(kept))
        nest(kept, into, own if kind == "keyword" else own[0])
    return kept


def _wanted(kind: Kind, found: Found) -> list[Any]:
    if kind == "boolean":
        return [name == "true" for name, _ in found]
    return [name for name, _ in found]


def _listed(value: Any, kind: Kind) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    # Alternative text that is empty is to be written.
    return [each for each in values if each is not None and not (kind == "caption" and not str(each).strip())]


def _word(value: Any) -> str:
    """A value as states record it: a text as it is, all else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def labelled_query(into: str) -> Query:
    """Documents that record labels in ``into``."""
    return {"exists": {"field": f"{STATE}.{into}.labels"}}


def current_query(into: str, fingerprint: str) -> Query:
    """Documents whose labels are of the label set with this fingerprint."""
    return {"term": {f"{STATE}.{into}.labels": fingerprint}}


def due_query(into: str, each: VectorField, fingerprint: str) -> Query:
    """Documents with a vector and no such labels, and those with labels and no vector any more."""
    lacking: Query = {"bool": {"filter": [encoded_query(each)], "must_not": [current_query(into, fingerprint)]}}
    bare: Query = {"bool": {"filter": [labelled_query(into)], "must_not": [encoded_query(each)]}}
    return any_of([lacking, bare])


def label_sources(each: VectorField, into: str, *, vectors: bool = True) -> list[str]:
    """The parts of a document's source that labelling looks at."""
    # The objects that the field lies in, to see that they are such.
    return [STATE, into.split(".")[0], *([each.path] if vectors else [])]
