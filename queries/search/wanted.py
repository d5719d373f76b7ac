"""A search as it was asked for, with what the index records in the place of options that weren't given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from crosslens.errors import QueryError
from crosslens.queries.fusion.normalizers import DEFAULT_NORMALIZER, Normalizer
from crosslens.queries.search.options import SearchOptions
from crosslens.queries.search.paging import Page
from crosslens.queries.search.requests import Query
from crosslens.queries.search.terms import Terms

# Not part of what a search is, or part of it as it was understood: one text is as good as a list of one.
_COUNTED_OTHERWISE = frozenset(
    {"text", "image", "audio", "video", "less_text", "less_image", "like", "filter", "page", "size"}
)


@dataclass(frozen=True)
class Wanted:
    """``options``, and what follows from them; ``comparing`` asks for what any normalizer needs, not only this one."""

    options: SearchOptions
    terms: Terms
    filters: list[Query]
    normalizer: Normalizer
    sources: Mapping[str, str]
    comparing: bool = False

    @classmethod
    def of(
        cls, index: str, window: int, recorded: Mapping[str, Any], options: SearchOptions, *, comparing: bool = False
    ) -> Wanted:
        """Return the search of ``index``, whose mapping has ``recorded`` a normalizer and sources, or hasn't.

        Raises `QueryError` for a size beyond the window, and where nothing is looked for.
        """
        if not 0 <= options.size <= window:
            raise QueryError(
                f"size must be from 0 to the window of {window}, not {options.size}",
                hint="give a larger window",
                parameter="window",
            )
        options = options.sendable
        return cls(
            options,
            Terms.of(options, options.liked(index)),
            options.filters,
            options.normalizer or recorded.get("normalizer") or DEFAULT_NORMALIZER,
            {**(recorded.get("sources") or {}), **(options.sources or {})},
            comparing,
        )

    @property
    def by_evidence(self) -> bool:
        """Whether the ranking is known from the legs' own windows, without completed scores."""
        return self.normalizer == "evidence"

    @property
    def needs_chances(self) -> bool:
        """Whether the words' probes are asked for, and which documents lack a vector."""
        return self.by_evidence or self.comparing

    def needs_words(self, leg: str) -> bool:
        """Whether it must be known what the query of a leg of words could get at most."""
        return self.needs_chances and (self.options.legs is None or leg in self.options.legs)

    @property
    def needs_moments(self) -> bool:
        """Whether the corpus statistics have a part in the ranking."""
        return self.normalizer == "standardise" or self.options.false_alarm is not None

    def page(self, opened: str | None) -> Page | None:
        """Return where this search by pages stands: at the start, in the point in time ``opened``, or at its token.

        None for a search without pages. Raises `QueryError` for a token that is none, or of another search.
        """
        if opened is not None:
            return Page(opened, 0, self._digest)
        page = self.options.page
        return Page.of(page, self._digest) if isinstance(page, str) else None

    @property
    def _digest(self) -> str:
        """What differs between this search and another one, and not between the pages of one."""
        others = [(each.name, getattr(self.options, each.name)) for each in fields(self.options)]
        others = [option for option in others if option[0] not in _COUNTED_OTHERWISE]
        whole = repr((self.terms.briefly, self.filters, self.normalizer, self.sources, others))
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]
