"""How far a copy is, as the mapping of the copy records it."""

from __future__ import annotations

from typing import Any

from crosslens.ingest.run.copy_state import CopyState, with_state

META: dict[str, Any] = {"owner": "shop", "crosslens": {"version": 2, "fields": {"title_vector": {"dims": 24}}}}


def test_the_state_stands_beside_what_the_mapping_holds_already_and_goes_without_a_trace() -> None:
    begun = with_state(META, CopyState("products"))
    assert begun["owner"] == "shop"
    assert begun["crosslens"] == {**META["crosslens"], "copy": {"of": "products"}}
    switching = with_state(begun, CopyState("products", "shop", blocked=True))
    assert switching["crosslens"]["copy"] == {"of": "products", "turning": "shop", "blocked": True}
    assert with_state(switching, None) == META


def test_a_state_is_recorded_in_the_words_of_earlier_releases() -> None:
    assert CopyState("products", "shop").as_meta() == {"of": "products", "turning": "shop"}
    assert CopyState("products").as_meta() == {"of": "products"}
