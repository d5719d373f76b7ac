"""The index as one object."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from crosslens.index.labelling import LabellableIndex
from crosslens.index.measuring import MeasurableIndex
from crosslens.index.opened import Progress, nothing
from crosslens.index.writing import WritableIndex
from crosslens.ingest.run.status import Status, survey
from crosslens.queries.evaluate.usefulness import Warned, looks_useless
from crosslens.queries.search.keywords import takes
from crosslens.queries.search.options import IndexDraftOptions, IndexSearchOptions
from crosslens.queries.show.pictures import Pictures
from crosslens.queries.show.result import SearchResult


@dataclass
class IndexStatus(Status):
    """The state of an index, with ``warnings`` about vector fields that look useless for searching."""

    warnings: list[Warned] = field(default_factory=list)


class Index(WritableIndex, LabellableIndex, MeasurableIndex):
    """An Elasticsearch index (or alias, pattern, data stream) whose documents have, or are to get, vectors.

        products = Index("products", url="http://localhost:9200", model="models/clip", image_root="/srv/pictures")
        products.add(TextField("title", "description"), ImageField("photo"))
        products.search("blue running shoes")

    The methods are the command line's verbs. Omitted parts of the address and the credentials come from the
    environment (`crosslens.client.VARIABLES`), as on the command line. May be used in ``with``, and from several
    threads for searching.
    """

    @takes(IndexSearchOptions)
    def search(self, options: IndexSearchOptions) -> SearchResult:
        """Search by text, by image, by both, or by documents.

        The arguments are those of `IndexSearchOptions`, which describes each: ``text`` by position or name, all others
        by name. In a notebook the result shows itself, with pictures. Raises as `HybridSearcher.search` does.
        """
        searcher = self._searcher(options.of_searcher)
        result = searcher.search(**options.of_search)
        return replace(result, pictures=Pictures(list(searcher.fields.values()), self._reader))

    @takes(IndexDraftOptions)
    def search_draft(self, options: IndexDraftOptions) -> SearchResult:
        """Search by a text of any length, such as an article that is being written.

        The arguments are those of `IndexDraftOptions`. Raises as `HybridSearcher.search_draft` does.
        """
        searcher = self._searcher(options.of_searcher)
        result = searcher.search_draft(**options.of_search)
        return replace(result, pictures=Pictures(list(searcher.fields.values()), self._reader))

    def status(self, *, quick: bool = False, sample: int | None = None, progress: Progress = nothing) -> IndexStatus:
        """Count documents by state for each vector field, with warnings about fields that look useless. See
        `crosslens.survey`; ``quick`` counts by queries alone, and a ``sample`` of documents bounds what is read."""

        def advance(status: Status) -> None:
            progress(status.scanned, min(status.documents, sample or status.documents))

        found = survey(self._client, self.name, quick=quick, sample=sample, progress=advance)
        warnings = [] if quick else looks_useless(self._client, self.name)
        return IndexStatus(**vars(found), warnings=warnings)
