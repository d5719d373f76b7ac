"""A URL holds the whole search."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import QueryError
from crosslens.queries.fusion.normalizers import NORMALIZERS
from crosslens.serving.asked import MOST_CHARACTERS, Asked

_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20)
_WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_DOCUMENTS = st.lists(st.tuples(_NAMES, _WORDS), max_size=8, unique=True).map(tuple)
_BOUNDS = st.dictionaries(_NAMES, _WORDS, max_size=4).map(lambda found: tuple(found.items()))


@given(
    st.builds(
        Asked,
        index=st.just("") | _NAMES,
        text=st.just("") | _WORDS,
        pictures=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=3, unique=True).map(tuple),
        like=_DOCUMENTS,
        less=_DOCUMENTS,
        chosen=st.lists(st.tuples(_NAMES, _WORDS), max_size=9, unique=True).map(tuple),
        least=_BOUNDS,
        most=_BOUNDS,
        weights=st.dictionaries(_NAMES, st.floats(0, 1000), max_size=4).map(lambda found: tuple(found.items())),
        normalizer=st.none() | st.sampled_from(NORMALIZERS),
        sort=st.none() | st.tuples(_NAMES, st.booleans()),
        page=st.just("") | _WORDS,
        size=st.integers(1, 100),
    )
)
def test_a_url_gives_back_the_search_that_it_was_made_of(asked: Asked) -> None:
    assert Asked.of(parse_qsl(asked.query_string(), keep_blank_values=True)) == asked


def test_what_a_form_sends_empty_is_left_out() -> None:
    assert Asked.of([("q", "shoe"), ("from.price", ""), ("sort", "")]) == Asked(text="shoe")
    assert Asked().query_string() == ""


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("q", "x" * (MOST_CHARACTERS + 1)), "'q' holds 2,001 characters"),
        (("w.keyword", "nan"), "must be a number from 0"),
        (("w.keyword", "-1"), "must be a number from 0"),
        (("w.keyword", "1e400"), "must be a number from 0"),
        (("size", "١٠"), "whole number from 1 to 100"),
        (("size", "9" * 900), "whole number from 1 to 100"),
        (("fusion", "best"), "'fusion' must be one of evidence"),
        (("sort", "price"), "FIELD:asc or FIELD:desc"),
        (("like", "shop"), "INDEX/ID"),
        (("picture", "../../etc/passwd"), "not the id of a picture"),
        (("f.", "red"), "'f.' is not something"),
        (("query", "shoe"), "'query' is not something"),
        (("x" * 2_000, "1"), "characters; 1,000 are allowed"),
    ],
)
def test_what_cannot_be_understood_is_named(pair: tuple[str, str], said: str) -> None:
    with pytest.raises(QueryError, match=said.replace(".", r"\.")):
        Asked.of([pair])


def test_what_stands_once_is_refused_twice_and_lists_have_an_end() -> None:
    for pairs in ([("q", "a"), ("q", "b")], [("to.price", "1"), ("to.price", "2")], [("w.a", "1"), ("w.a", "2")]):
        with pytest.raises(QueryError, match=r"twice|two values"):
            Asked.of(pairs)
    with pytest.raises(QueryError, match="51 values"):
        Asked.of([("f.brand", str(i)) for i in range(51)])


def test_more_and_less_of_a_document_exclude_each_other_and_start_anew() -> None:
    shoe = ("shop", "a/b")
    asked = Asked(text="red", page="token").with_like(shoe)
    assert (asked.like, asked.page) == ((shoe,), "")
    assert asked.with_less(shoe) == replace(asked, like=(), less=(shoe,))
    assert asked.with_less(shoe).without(shoe) == Asked(text="red")


def test_a_ninth_document_replaces_the_oldest() -> None:
    asked = Asked()
    for i in range(9):
        asked = asked.with_like(("shop", str(i)))
    assert asked.like == tuple(("shop", str(i)) for i in range(1, 9))


def test_a_value_of_a_facet_is_chosen_and_dropped() -> None:
    asked = Asked(page="token").toggled("brand", "acme")
    assert asked == Asked(chosen=(("brand", "acme"),))
    assert asked.toggled("brand", "acme") == Asked()
