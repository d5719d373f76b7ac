"""Search results as the API returns them and the page shows them: plain data, with addresses to get pictures by."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from crosslens.ingest.contract.documents import source_values
from crosslens.queries.show.moments import described, fragment
from crosslens.queries.show.pictures import Pictures
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.queries.show.table import matched_as, shortened, title_of
from crosslens.serving.asked import Asked
from crosslens.serving.referred import Referred, Signer
from crosslens.serving.sieves import Sieves
from crosslens.surrogates import mended, well_formed

# Around what matched; characters for private use, since a text may hold any tags.
MARK_START, MARK_END = "\ue000", "\ue001"
HIGHLIGHT = {"fields": {"*": {}}, "pre_tags": [MARK_START], "post_tags": [MARK_END]}
# Names that catalogues commonly give to a document's own page.
_LINK_FIELDS = ("url", "link", "href", "permalink", "page_url", "product_url")
UNSURE = "Nothing stands out: as good a match as the best one is likely to be found by chance."


@dataclass(frozen=True)
class Presentation:
    """How documents are shown: by the fields that hold their ``title`` and ``link`` (None: guessed)."""

    signer: Signer
    title: str | None = None
    link: str | None = None

    def title_of(self, hit: Hit) -> str:
        """What a person recognises the document by."""
        named = source_values(hit.source, self.title)[:1] if self.title else []
        return well_formed(named[0]) if named else title_of(hit)

    def link_of(self, hit: Hit) -> str | None:
        """The document's own page: an http or https URL; None where its fields name none."""
        for name in (self.link,) if self.link else _LINK_FIELDS:
            for value in source_values(hit.source, name)[:1]:
                try:
                    address = urlsplit(value.strip())
                except ValueError:
                    continue
                # Other schemes run as scripts, or open what the reader's machine has.
                if address.scheme.lower() in ("http", "https") and address.netloc:
                    return well_formed(value.strip())
        return None


def shown(result: SearchResult, asked: Asked, sieves: Sieves, how: Presentation) -> dict[str, Any]:
    """Return a page of results as the API's `SearchResult` schema describes it.

    ``url`` is the query string that this search is; ``next`` that of the next page, or None.
    """
    following = None if result.next is None else replace(asked, page=result.next).query_string()
    view = {
        "url": asked.query_string(),
        "next": following,
        "found": result.found,
        "legs": result.legs,
        "answered": result.answered,
        "normalizer": result.normalizer,
        "encode_ms": round(result.encode_ms, 1),
        "search_ms": round(result.search_ms, 1),
        "hits": [_hit(hit, result.pictures, asked, how) for hit in result.hits],
        "facets": sieves.facets(result.aggregations, asked),
        "ranges": sieves.ranges(result.aggregations, asked),
        "sortable": sieves.sortable,
    }
    whole: dict[str, Any] = mended(view)
    return whole


def _hit(hit: Hit, pictures: Pictures | None, asked: Asked, how: Presentation) -> dict[str, Any]:
    document = (hit.index, hit.id)
    return {
        "index": hit.index,
        "id": hit.id,
        "score": hit.score,
        "title": how.title_of(hit),
        "link": how.link_of(hit),
        "picture": _picture(hit, pictures, how.signer),
        "parts": [{"leg": leg, **asdict(part)} for leg, part in hit.parts.items()],
        "why": hit.explanation,
        "matched": [
            {"leg": leg, "said": matched_as(value)} for leg, value in hit.matched.items() if "start_ms" not in value
        ],
        "moments": _moments(hit, pictures, how.signer),
        "highlight": [
            {"field": name, "fragments": [marked(each) for each in fragments]}
            for name, fragments in hit.highlight.items()
        ],
        "like": asked.with_like(document).query_string(),
        "less": asked.with_less(document).query_string(),
    }


def _picture(hit: Hit, pictures: Pictures | None, signer: Signer) -> str | None:
    """The path of the hit's thumbnail."""
    for reference in pictures.references(hit) if pictures else ():
        address = signer.address(Referred("picture", reference))
        if address is not None:
            return f"/pictures/{address}"
    return None


def _moments(hit: Hit, pictures: Pictures | None, signer: Signer) -> list[dict[str, Any]]:
    moments = []
    for each in hit.moments:
        src, kind = None, "video"
        if pictures is not None:
            kind = pictures.players.kind(each)
            reference = pictures.players.reference(hit, each)
            address = None if reference is None else signer.address(Referred(kind, reference))
            src = None if address is None else f"/files/{address}{fragment(each)}"
        moments.append(
            {
                "kind": kind,
                "src": src,
                "said": described(each),
                "text": None if each.text is None else shortened(each.text),
                "start_ms": each.start_ms,
                "end_ms": each.end_ms,
            }
        )
    return moments


def marked(fragment: str) -> list[dict[str, Any]]:
    """Return a highlighted text in pieces, each with whether it matched."""
    pieces = []
    for i, part in enumerate(fragment.split(MARK_START)):
        inside, end, rest = part.partition(MARK_END)
        # Before the first mark nothing is inside; a mark that a text holds by itself ends nowhere.
        if i == 0 or not end:
            inside, rest = "", part.replace(MARK_END, "")
        pieces += [{"text": text, "matched": matched} for text, matched in ((inside, True), (rest, False)) if text]
    return pieces
