"""What encoding sound and footage will take, from a few files of which a little is encoded and thrown away."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from crosslens import stopping
from crosslens.errors import MediaError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.moments import StoredMoment
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.run.estimate import Estimate, estimated_bytes
from crosslens.ingest.run.media_vectors import moment_vectors
from crosslens.ingest.run.reading import Reader
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.wanted import Wanted
from crosslens.ingest.sources.decoding.shapes import Cutting, Moment
from crosslens.ingest.sources.media import Media, MediaReader, open_media

_FILES = 8
_MOMENTS = 8
_USUAL_S = 5.0


def estimate_moments(run: Run, wanted: Sequence[Wanted], plain: Estimate) -> Estimate:
    """Return the estimate for the other fields and that for ``wanted``, whose moments are reckoned as steps of 5 s
    where they are shots. Files that can't be read take no time."""
    sample = random.sample(list(wanted), min(_FILES, len(wanted)))
    readers = {each.field: MediaReader(run.access.get(each.field, run.options.images)) for each in run.fields}
    now = Reader(run.client, run.index, run.wanted)
    seconds = size = 0.0
    for each in sample:
        for document in (found for page in now.again([each.document]) for found in page):
            for task in each.tasks:
                for reference in documents.inputs(document.source, task.field):
                    stopping.check()
                    took, vectors = _measured(run, task.field, readers, reference)
                    seconds += took
                    size += estimated_bytes(task.field, vectors)
    share = len(wanted) / max(1, len(sample))
    total = plain.documents if plain.documents >= len(wanted) else len(wanted)
    return Estimate(total, plain.seconds + seconds * share, plain.bytes + round(size * share))


def _measured(run: Run, each: VectorField, readers: Mapping[str, MediaReader], reference: str) -> tuple[float, int]:
    """Seconds that a file's moments will take, and how many vectors they make."""
    try:
        with (
            readers[each.field].open(reference) as file,
            open_media(file.file, run.options.media, name=file.name) as media,
        ):
            return _encoded(run, each, media)
    except (MediaError, UnicodeError):
        return 0.0, 0


def _encoded(run: Run, each: VectorField, media: Media) -> tuple[float, int]:
    cutting = each.cutting or Cutting()
    step = _USUAL_S if cutting.shots else cutting.step_s
    count = min(cutting.most, max(1, round(media.info.seconds / step)))
    length = round(1000 * media.info.seconds / count)
    spans = [Moment(i * length, (i + 1) * length) for i in range(min(count, _MOMENTS))]
    has = media.info.audio if each.part == "sound" else media.info.video
    if each.part == "captions" or not has:
        return 0.0, 0
    encoder = run.encoders.for_field(each)
    moments = [StoredMoment(0, span, "") for span in spans]
    longest = min(length, int(1000 * (encoder.audio.seconds if encoder.audio else _USUAL_S)))
    if each.part == "sound":
        moments = [replace(m, span=Moment(m.span.start_ms, m.span.start_ms + longest)) for m in moments]
    started = time.perf_counter()
    for _ in moment_vectors(each, encoder, media, moments):
        stopping.check()
    return (time.perf_counter() - started) / len(moments) * count, count
