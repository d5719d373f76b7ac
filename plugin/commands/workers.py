"""Several workers on this machine, each with its share of an index's documents."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.commands.options import Encoding
from crosslens.errors import CrosslensError
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.cluster import ClusterEncoder
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import remember
from crosslens.ingest.run.reading import Share
from crosslens.ingest.run.report import Failure, Listener, Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors, reindex

# A share of a document every so often is enough for a bar.
_POLL_S = 0.2


@dataclass(frozen=True)
class Job:
    """What to do to an index in place, in words that another process understands.

    ``only_targets`` leaves the fields that the index has already alone. Where the cluster
    encodes, ``model`` is a name that it knows (None: the only one, or the index's).
    """

    connection: Connection
    index: str
    model: Path | None
    encoding: Encoding
    options: Options
    targets: tuple[Target, ...] = ()
    only_targets: bool = False
    fields: tuple[str, ...] | None = None

    def encoder(self, client: Elasticsearch) -> VectorEncoder | None:
        """The encoder that was named, None for none. Raises `ModelError` as `Encoder` and `ClusterEncoder` do."""
        if self.encoding.in_cluster:
            if self.model is None and not self.targets:
                return None
            return ClusterEncoder(client, str(self.model) if self.model else None, batch_size=self.encoding.batch_size)
        if self.model is None:
            return None
        encoder = Encoder(self.model, batch_size=self.encoding.batch_size, threads=self.encoding.threads)
        remember(encoder.folder.path, encoder.fingerprint)
        return encoder

    def encoders(self, client: Elasticsearch) -> Encoders:
        """The encoder that was named, and for other models those of the cluster or of this machine."""
        named = self.encoder(client)
        return Encoders(
            [named] if named else [],
            batch_size=self.encoding.batch_size,
            threads=self.encoding.threads,
            cluster=client if self.encoding.in_cluster else None,
        )

    def run(self, progress: Listener, failed: Callable[[Failure], None]) -> Report:
        """Does it, here. Raises what `add_vectors` and `reindex` raise."""
        client = connect(self.connection)
        encoders = self.encoders(client)
        if self.only_targets:
            return add_vectors(
                client, self.index, encoders.given(), self.targets, self.options, progress=progress, failed=failed
            )
        return reindex(
            client,
            self.index,
            encoders,
            self.options,
            targets=self.targets,
            fields=self.fields,
            progress=progress,
            failed=failed,
        )


@dataclass
class _Shares:
    """The reports of all workers as one."""

    reports: dict[int, Report] = field(default_factory=dict)

    def together(self) -> Report:
        first, *others = [replace(r, **_copies(r)) for r in self.reports.values()]
        for other in others:
            first.merge(other)
        return first


def _copies(report: Report) -> dict[str, Any]:
    names = ("written", "skipped", "unchanged", "failed", "failed_earlier")
    return {name: dict(getattr(report, name)) for name in names}


def run_shares(job: Job, workers: int, progress: Listener, failed: Callable[[Failure], None]) -> Report:
    """Runs ``job`` in ``workers`` processes, the cores divided among them.

    Raises `CrosslensError` when a worker can't go on; the others then finish their share.
    """
    context = multiprocessing.get_context("spawn")
    said: Any = context.Queue()
    encoding = replace(job.encoding, threads=job.encoding.threads or max(1, (os.cpu_count() or 1) // workers))
    started = []
    for part in range(1, workers + 1):
        options = replace(job.options, share=Share(part, workers))
        process = context.Process(target=_work, args=(replace(job, options=options, encoding=encoding), part, said))
        process.start()
        started.append(process)
    shares, left, errors = _Shares(), set(range(1, workers + 1)), list[str]()

    def listen(timeout: float) -> None:
        kind, part, value = said.get(timeout=timeout)
        if kind == "failure":
            failed(value)
            return
        if kind == "error":
            errors.append(value)
        else:
            shares.reports[part] = value
            progress(shares.together())
        if kind in ("done", "error"):
            left.discard(part)

    while left:
        try:
            listen(_POLL_S)
        except queue.Empty:
            for part in [part for part in left if not started[part - 1].is_alive()]:
                left.discard(part)
                errors.append(f"worker {part} of {workers} ended without a word; run again to go on")
        except KeyboardInterrupt:
            # The workers got it too: each writes what it has encoded, and reports.
            continue
    for process in started:
        process.join()
    if errors:
        raise CrosslensError("; ".join(dict.fromkeys(errors)))
    return shares.together()


def _work(job: Job, part: int, said: Any) -> None:
    try:
        report = job.run(
            lambda report: said.put(("progress", part, replace(report, failures=[], **_copies(report)))),
            lambda failure: said.put(("failure", part, failure)),
        )
        said.put(("done", part, report))
    except CrosslensError as error:
        said.put(("error", part, str(error)))
    except KeyboardInterrupt:
        said.put(("error", part, "interrupted before the work began"))
