"""Writes the golden files anew: .venv/bin/python -m tests.golden [NAME ...]

Regenerating is a change of format. A line that changes in ``documents``, ``templates``, ``fingerprints``, ``tokens``,
``passages`` or ``pixels`` makes what is stored in indices stale, or incomparable with what is written from then on; one
that changes in ``fusion`` or ``evidence`` changes rankings. So look at the difference line by line, change both sides,
and say it in the changelog; ``docs/format.md`` says when a version must be raised. New cases may be added at any time.
"""

from __future__ import annotations

import sys

from tests.golden import documents, evidence, fusion, labels, models, passages, pixels, write

FILES = {
    "documents": documents.recorded,
    "templates": documents.recorded_templates,
    "fusion": fusion.recorded,
    "evidence": evidence.recorded,
    "labels": labels.recorded,
    "fingerprints": models.recorded_fingerprints,
    "tokens": models.recorded_tokens,
    "passages": passages.recorded,
    "pixels": pixels.recorded,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or FILES:
        write(name, FILES[name]())
