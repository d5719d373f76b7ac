"""Methods that give documents labels and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crosslens.errors import LabelError
from crosslens.index.opened import OpenedIndex, Progress, nothing
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.examples import Example, read_examples
from crosslens.ingest.contract.labels import Label, read_captions, read_labels
from crosslens.ingest.run.describe import DEFAULT_LIMIT, Suggestion, captions_in, suggest, wanted_captions
from crosslens.ingest.run.label import DEFAULT_FALSE_ALARMS, label, wanted_labels
from crosslens.ingest.run.label_report import LabelListener, LabelReport
from crosslens.queries.evaluate.review import DEFAULT_REVIEWED, review


class LabellableIndex(OpenedIndex):
    """An index whose documents are given labels and captions by their vectors."""

    def label(
        self,
        labels: Sequence[str | Label] | Path | str,
        *,
        field: str,
        into: str,
        templates: Sequence[str] | None = None,
        false_alarms: float = DEFAULT_FALSE_ALARMS,
        judged: Sequence[Example] | Path | str = (),
        boolean: bool | None = None,
        anew: bool = False,
        dry_run: bool = False,
        progress: LabelListener = nothing,
    ) -> LabelReport:
        """Give documents labels in their field ``into``, by their vectors in ``field``; no picture is read again.

        ``labels`` are names, `Label` objects, or a file of them (`crosslens.read_labels`). The rate ``false_alarms``
        decides how far a vector must stand out of the noise; ``judged`` examples (or a file of them) set each label's
        threshold instead. With ``boolean`` the field says whether the only label suits. ``remove`` takes labels out
        again. See `crosslens.label` for the rest.
        """
        given = read_labels(Path(labels)) if isinstance(labels, str | Path) else labels
        examples = read_examples(Path(judged)) if isinstance(judged, str | Path) else judged
        wanted = wanted_labels(
            given,
            templates=None if templates is None else tuple(templates),
            false_alarms=false_alarms,
            examples=tuple(examples),
            boolean=boolean,
            anew=anew,
        )
        return label(
            self._client, self.name, self._searching(), field, into, wanted, dry_run=dry_run, progress=progress
        )

    def describe(
        self,
        captions: Sequence[str] | Path | str | None = None,
        *,
        field: str,
        caption_index: str | None = None,
        top: int = 3,
        limit: int = DEFAULT_LIMIT,
        query: Mapping[str, Any] | None = None,
        false_alarms: float = DEFAULT_FALSE_ALARMS,
        floor: float | None = None,
        progress: Progress = nothing,
    ) -> list[Suggestion]:
        """Suggest captions for the pictures of ``limit`` documents, the nearest ``top`` of your own; write nothing.

        ``captions`` are texts, or a file of them (`crosslens.read_captions`); or ``caption_index`` names the text field
        of an index that holds them, as in "archive:caption". What a picture reaches by chance at the rate
        ``false_alarms``, with the best of all captions, isn't suggested, or what scores less than ``floor``.
        `write_captions` writes the best.
        """
        wanted = wanted_captions(self._captions(captions, caption_index), false_alarms=false_alarms, floor=floor)
        return suggest(
            self._client,
            self.name,
            self._searching(),
            field,
            wanted,
            most=top,
            limit=limit,
            query=query,
            progress=progress,
        )

    def write_captions(
        self,
        captions: Sequence[str] | Path | str | None = None,
        *,
        field: str,
        into: str,
        caption_index: str | None = None,
        false_alarms: float = DEFAULT_FALSE_ALARMS,
        floor: float | None = None,
        dry_run: bool = False,
        progress: LabelListener = nothing,
    ) -> LabelReport:
        """Write the best caption that `describe` would suggest into the text field ``into``, where that is empty.

        Goes through all documents, as `label` does; ``remove`` takes out again what was written.
        """
        wanted = wanted_captions(self._captions(captions, caption_index), false_alarms=false_alarms, floor=floor)
        return label(
            self._client, self.name, self._searching(), field, into, wanted, dry_run=dry_run, progress=progress
        )

    def review(self, into: str, page: Path | str, *, most: int = DEFAULT_REVIEWED) -> int:
        """Write a page with the pictures of the documents whose field ``into`` a label made true or false, least sure
        first. See `crosslens.queries.evaluate.review`."""
        return review(self._client, self.name, into, Path(page), self._reader, most=most)

    def _searching(self) -> Encoders | list[VectorEncoder]:
        """The models for labels, looked for as those of queries are."""
        return self._named() or self._known((), self._client)

    def _captions(self, captions: Sequence[str] | Path | str | None, caption_index: str | None) -> Sequence[str]:
        if (captions is None) == (caption_index is None):
            raise LabelError("give captions, or the index that holds them: one of the two")
        if caption_index is not None:
            name, colon, field = caption_index.rpartition(":")
            if not (colon and name and field):
                raise LabelError(f"{caption_index!r} is not INDEX:FIELD", parameter="caption_index")
            return captions_in(self._client, name, field)
        return read_captions(Path(captions)) if isinstance(captions, str | Path) else list(captions or ())
