"""How far the making of a copy is, as the mapping of the copy records it: whoever goes on after a kill reads it there.

It stands in the mapping's ``_meta`` from the index's creation until its alias is switched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.ingest.contract.record import META

_COPY = "copy"


@dataclass(frozen=True)
class CopyState:
    """The index that is copied (``of``), the alias that is being switched, and whether the original's block is ours."""

    of: str
    alias: str | None = None
    blocked: bool = False

    def as_meta(self) -> dict[str, Any]:
        """What is recorded, in the words of earlier releases, whose copies are continued."""
        switching = {} if self.alias is None else {"turning": self.alias}
        return {"of": self.of, **switching, **({"blocked": True} if self.blocked else {})}


def with_state(meta: dict[str, Any], state: CopyState | None) -> dict[str, Any]:
    """A mapping's ``_meta`` with that state (None: without one)."""
    body = {key: value for key, value in meta[META].items() if key != _COPY}
    return {**meta, META: body if state is None else {**body, _COPY: state.as_meta()}}


def read_state(client: Elasticsearch, into: str) -> CopyState | None:
    """What the copy's mapping records; None for an index that isn't there, isn't a copy, or is finished."""
    body = client.options(ignore_status=404).indices.get_mapping(index=into).body
    meta = body.get(into, {}).get("mappings", {}).get("_meta") or {}
    state = (meta.get(META) or {}).get(_COPY)
    return CopyState(state["of"], state.get("turning"), bool(state.get("blocked"))) if state else None


def write_state(client: Elasticsearch, into: str, state: CopyState | None) -> None:
    """Records it in the copy's mapping."""
    meta = dict(client.indices.get_mapping(index=into)[into]["mappings"]["_meta"])
    client.indices.put_mapping(index=into, meta=with_state(meta, state))


def has_switched(client: Elasticsearch, into: str) -> bool:
    """Whether the alias was switched by a run that couldn't tidy up after it."""
    state = read_state(client, into)
    return (
        state is not None
        and state.alias is not None
        and bool(client.indices.exists_alias(index=into, name=state.alias))
    )
