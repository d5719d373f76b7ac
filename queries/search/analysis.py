"""How an index's text fields are analysed, as far as it decides what the words of a query are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from crosslens.ingest.contract.mapping import flat_properties
from crosslens.queries.search.words import in_words, spaces_part

_FULL_TEXT = ("text", "match_only_text", "search_as_you_type", "annotated_text")
# Elasticsearch's own analysers that part words where spaces are; scripts without spaces are looked at apart.
_AT_SPACES = frozenset(
    (
        *("standard", "simple", "whitespace", "stop", "cjk", "thai", "arabic", "armenian", "basque", "bengali"),
        *("brazilian", "bulgarian", "catalan", "czech", "danish", "dutch", "english", "estonian", "finnish", "french"),
        *("galician", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "latvian"),
        *("lithuanian", "norwegian", "persian", "portuguese", "romanian", "russian", "serbian", "sorani", "spanish"),
        *("swedish", "turkish"),
    )
)
_DEFAULTS = ("default_search", "default")
_MOST_FIELDS = 16


@dataclass(frozen=True)
class Analysis:
    """By full-text field: the ``index`` to ask, the name of its search ``analyser``, and whether it parts at spaces."""

    index: Mapping[str, str] = field(default_factory=dict)
    analyser: Mapping[str, str] = field(default_factory=dict)
    at_spaces: Collection[str] = frozenset()

    @classmethod
    def of(cls, mappings: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]) -> Analysis:
        """From the ``mappings`` objects of several indices, and their flat ``settings`` of ``index.analysis``."""
        index: dict[str, str] = {}
        analysers: dict[str, str] = {}
        at_spaces: set[str] = set()
        for name, mapping in mappings.items():
            prefix = "index.analysis.analyzer."
            own = {key[len(prefix) :].partition(".")[0] for key in settings.get(name) or {} if key.startswith(prefix)}
            default = next((each for each in _DEFAULTS if each in own), "standard")
            for path, definition in flat_properties(mapping).items():
                if definition.get("type") not in _FULL_TEXT or path in index:
                    continue
                analyser = definition.get("search_analyzer") or definition.get("analyzer") or default
                index[path], analysers[path] = name, analyser
                if analyser in _AT_SPACES and analyser not in own:
                    at_spaces.add(path)
        return cls(index, analysers, frozenset(at_spaces))

    def named(self, fields: Iterable[str]) -> list[str]:
        """The full-text fields that names with wildcards and boosts, as a query has them, stand for; none: all."""
        patterns = [name.partition("^")[0] for name in fields] or ["*"]
        return [path for path in self.index if any(fnmatchcase(path, pattern) for pattern in patterns)]

    def words(self, text: str, fields: Sequence[str]) -> list[str] | None:
        """The words of a text as these fields read it, or None where only the server knows."""
        known = self.named(fields)
        if not known:
            # Of keywords, numbers and dates the whole text is one value.
            return [text] if text.strip() else []
        if spaces_part(text) and all(path in self.at_spaces for path in known):
            return in_words(text)
        return None

    def question(self, text: str, fields: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """The index, and the body of a term vectors request, that show how the fields part a text."""
        known = self.named(fields)
        index = self.index[known[0]]
        asked = [path for path in known if self.index[path] == index][:_MOST_FIELDS]
        document: dict[str, Any] = {}
        for path in asked:
            # The words of a multi-field are those of its parent.
            parent, dot, _ = path.rpartition(".")
            document[parent if dot and parent in self.index else path] = text
        return index, {
            "doc": document,
            "fields": asked,
            "per_field_analyzer": {path: self.analyser[path] for path in asked},
            "offsets": True,
            "positions": True,
            "payloads": False,
            "field_statistics": False,
            "term_statistics": False,
        }
