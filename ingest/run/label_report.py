"""What a run that gave documents labels did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crosslens.ingest.run.judging import Verdict
from crosslens.ingest.run.report import Failure

_KEPT = 1_000


@dataclass
class LabelReport:
    """What a run did: ``todo`` documents were to be labelled, ``documents`` were taken up and ``written``.

    ``labels`` counts, by label, the documents of this run that were given it; ``unlabelled`` got none. ``thresholds``
    are the least standardised scores at which labels are given, by label; ``measured`` vectors showed the noise.
    ``verdicts`` compare with examples, where there are any. ``failures`` are the first thousand.
    """

    index: str
    field: str
    into: str
    fingerprint: str = ""
    measured: int = 0
    todo: int = 0
    documents: int = 0
    written: int = 0
    unlabelled: int = 0
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)
    verdicts: list[Verdict] = dataclasses.field(default_factory=list)
    failed: int = 0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    still_changing: bool = False
    interrupted: bool = False
    dry_run: bool = False
    seconds: float = 0.0

    def count(self, found: Sequence[str]) -> None:
        """One more document, and what it was given."""
        for name in found:
            self.labels[name] = self.labels.get(name, 0) + 1
        self.unlabelled += not found

    def fail(self, failure: Failure) -> None:
        """Takes note of a document that can't be labelled."""
        self.failed += 1
        if len(self.failures) < _KEPT:
            self.failures.append(failure)


LabelListener = Callable[[LabelReport], None]
