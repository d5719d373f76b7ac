"""What a document says: the values to encode, their hashes, and the state that is recorded beside them.

Plain data in and plain data out. Each document keeps, under ``crosslens.PATH``, the hash of what was encoded, the
model's fingerprint, and an error or the reason why there was nothing to encode. So what still has to be done is a
query (see `crosslens.ingest.contract.selection`), and a run needs no other memory.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crosslens.ingest.contract.mapping import nest
from crosslens.ingest.contract.record import STATE, VectorField
from crosslens.ingest.sources.hashing import content_hash

DocumentKey = tuple[str, str]
"""A document's index and id."""
Standing = Literal["done", "missing", "stale", "failed", "skipped", "empty"]
_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def source_values(document: Mapping[str, Any], path: str) -> list[str]:
    """The values at a dotted path of a document's source, in order; nested objects, arrays and dotted keys all work.

    Numbers and booleans come as JSON writes them. Empty and blank strings count as no value.
    """
    values: list[str] = []

    def walk(node: Any, parts: list[str]) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item, parts)
        elif not parts:
            if isinstance(node, str):
                values.append(node)
            elif isinstance(node, int | float):
                values.append(json.dumps(node))
        elif isinstance(node, dict):
            for i in range(1, len(parts) + 1):
                key = ".".join(parts[:i])
                if key in node:
                    walk(node[key], parts[i:])

    walk(dict(document), path.split("."))
    return [value for value in values if value.strip()]


def source_text(document: Mapping[str, Any], sources: Sequence[str], template: str | None = None) -> str | None:
    """What is encoded of text sources; None when none of them has a value.

    Values of one field are joined by commas. Fields are joined by full stops, or put into the ``template``, in which
    an empty field leaves nothing.
    """
    parts = {source: ", ".join(v.strip() for v in source_values(document, source)) for source in sources}
    if template is None:
        return ". ".join(part.rstrip(".") for part in parts.values() if part) or None
    if not any(parts.values()):
        return None
    filled = "".join(
        literal + (parts[name] if name is not None else "")
        for literal, name, _, _ in string.Formatter().parse(template)
    )
    # Two halves of a character that a template puts side by side are that character, as they are in UTF-16.
    if _HALVES.search(filled):
        filled = filled.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return re.sub(r"\s+", " ", filled).strip() or None


def inputs(document: Mapping[str, Any], field: VectorField) -> list[str]:
    """The texts or image references that ``field`` encodes of a document: at most one, or with ``each`` all of them.

    Of several references in a field without ``each`` the first is taken. Texts that are to make passages come as they
    are, with the white space around them, since passages are places in them.
    """
    if field.passages:
        return source_values(document, field.sources[0])
    if field.each:
        return [value.strip() for value in source_values(document, field.sources[0])]
    if field.modality == "text":
        text = source_text(document, field.sources, field.template)
        return [] if text is None else [text]
    return [value.strip() for source in field.sources for value in source_values(document, source)[:1]][:1]


def source_hash(values: Sequence[str], field: VectorField) -> str:
    """The hash that a document's state records for its `inputs`."""
    text = json.dumps(list(values), ensure_ascii=False) if field.each else "".join(values)
    return content_hash(text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class State:
    """What a document records about one vector field; see the module's description.

    ``cut`` is the share (0 to 1) of a text's tokens that its model didn't read; of several texts the greatest one.
    """

    source: str
    model: str
    content: str | None = None
    error: str | None = None
    skipped: str | None = None
    cut: float | None = None

    def as_source(self) -> dict[str, Any]:
        """What a document keeps of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def document_update(
    states: Mapping[str, State], vectors: Mapping[str, Any], previous: Mapping[str, Any]
) -> dict[str, Any]:
    """The partial document that an update merges: vectors and states, by the field's path.

    What the document in ``previous`` (its source) still says of an earlier attempt is set to null.
    """
    update: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for path, state in states.items():
        again = state_of(previous, path) is not None
        nest(nested, path, {k: v for k, v in asdict(state).items() if v is not None or again})
        if path in vectors:
            nest(update, path, vectors[path])
        elif again:
            nest(update, path, None)
    update[STATE] = nested
    return update


def with_vectors(
    document: Mapping[str, Any], states: Mapping[str, State], vectors: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole document with new vectors and states, by the field's path, in place of those it had."""
    whole: dict[str, Any] = json.loads(json.dumps(without(document, list(states))))
    whole.setdefault(STATE, {})
    for path, state in states.items():
        nest(whole[STATE], path, state.as_source())
        if path in vectors:
            nest(whole, path, vectors[path])
    return whole


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """What a document's source holds at the end of ``path``; None where there is nothing."""
    node: Any = document
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def state_of(document: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """The recorded state of the vector field at ``path`` in a document's source, or None."""
    node = value_at(document, f"{STATE}.{path}")
    return node if isinstance(node, dict) and node.get("model") else None


def has_vector(document: Mapping[str, Any], path: str) -> bool:
    """Whether the last attempt at the vector field at ``path`` gave a vector, as far as a document's state says."""
    state = state_of(document, path) or {}
    return bool(state) and not state.get("error") and not state.get("skipped")


def standing(document: Mapping[str, Any], field: VectorField) -> Standing:
    """How a document stands with ``field``, by its state and its present source.

    "stale" where the source or the model changed since; "empty" for a document without source that no run has seen.
    An image that changed under the same reference isn't noticed here: its content has to be read.
    """
    values = inputs(document, field)
    state = state_of(document, field.path)
    if state is None:
        return "missing" if values else "empty"
    if state["model"] != field.fingerprint or state.get("source") != source_hash(values, field):
        return "stale"
    if state.get("error"):
        return "failed"
    return "skipped" if state.get("skipped") else "done"


def obstacle(document: Mapping[str, Any], path: str) -> str | None:
    """The parent of ``path`` that isn't an object in this document, where an update would destroy it; None for none."""
    node: Any = document
    parts = path.split(".")
    for i, part in enumerate(parts[:-1]):
        if part not in node or node[part] is None:
            return None
        node = node[part]
        if not isinstance(node, dict):
            return ".".join(parts[: i + 1])
    return None


def without(document: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """A copy of a document without what lies at ``paths``; objects that hold nothing else go with it."""
    kept = dict(document)
    for path in paths:
        _drop(kept, path.split("."))
    return kept


def _drop(node: dict[str, Any], parts: list[str]) -> None:
    for i in range(len(parts), 0, -1):
        key = ".".join(parts[:i])
        if key not in node:
            continue
        if i == len(parts):
            del node[key]
        elif isinstance(node[key], dict):
            inner = dict(node[key])
            _drop(inner, parts[i:])
            if inner:
                node[key] = inner
            else:
                del node[key]
        return
