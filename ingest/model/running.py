"""Running the graphs of a model folder."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from crosslens.errors import ModelError
from crosslens.ingest.model.batching import Batches, Inputs, in_batches
from crosslens.ingest.model.devices import load_session, most_inputs, require
from crosslens.ingest.model.transform import Float32Array


class Ports(Protocol):
    """What is run of a graph."""

    @property
    def path(self) -> Path:
        """The graph's file."""

    @property
    def output(self) -> str:
        """The output that is asked for."""

    @property
    def batch(self) -> int | None:
        """How many inputs the graph takes at once, if only so many."""

    @property
    def alone(self) -> bool:
        """Whether the graph is all for this output, as one that holds two encoders isn't."""


@dataclass(frozen=True)
class Part:
    """A graph that is part of a model; see `Ports`. Several outputs of one graph share what is loaded of it."""

    path: Path
    output: str
    batch: int | None = None
    alone: bool = True


class Graphs:
    """Runs graphs, each loaded when it is first needed. May be used from several threads."""

    def __init__(self, threads: int, batch_size: int | None, device: str):
        """As `Encoder` takes them; raises `ModelError` as it does."""
        require(device)
        if (batch_size is not None and batch_size < 1) or threads < 0:
            raise ModelError(f"batch_size must be 1 or more and threads 0 or more, not {batch_size} and {threads}")
        self.batch_size = batch_size or most_inputs(device)
        self._chosen, self._threads, self._device = batch_size is not None, threads, device
        self._sessions: dict[tuple[Path, str | None], ort.InferenceSession] = {}
        self._batches: dict[tuple[Path, str], Batches] = {}
        self._loading = threading.Lock()

    def vectors(self, ports: Ports, inputs: Inputs, *, alike: bool = False) -> Float32Array:
        """Return the unit vectors [n, dims] of all rows of ``inputs``.

        ``alike``: the inputs of every run are of one shape, so that the batch size that is fastest can be found.
        """
        return unit(self.run(ports, inputs, alike=alike))

    def run(self, ports: Ports, inputs: Inputs, *, alike: bool = False) -> NDArray[Any]:
        """Return what a graph gives all rows of ``inputs``; ``alike`` as in `vectors`."""
        session, batches = self._session(ports), self._batches_of(ports, alike)

        def once(part: Inputs) -> NDArray[Any]:
            return np.asarray(session.run([ports.output], part)[0])

        return in_batches(lambda part: batches.run(once, part), inputs, ports.batch)

    def _batches_of(self, ports: Ports, alike: bool) -> Batches:
        with self._loading:
            key = (ports.path, ports.output)
            if key not in self._batches:
                measured = alike and not self._chosen and ports.batch is None
                self._batches[key] = Batches(ports.path, self.batch_size, least=ports.batch or 1, measured=measured)
            return self._batches[key]

    def _session(self, ports: Ports) -> ort.InferenceSession:
        key = (ports.path, None if ports.alone else ports.output)
        session = self._sessions.get(key)
        if session is not None:
            return session
        with self._loading:
            if key not in self._sessions:
                self._sessions[key] = load_session(ports.path, self._threads, self._device, key[1])
            return self._sessions[key]


def unit(vectors: NDArray[Any]) -> Float32Array:
    """Return what a graph gave, [n, dims], at unit length. Raises `ModelError` for anything else than vectors."""
    if vectors.ndim != 2:
        raise ModelError(f"the encoder gave numbers of the shape {vectors.shape}, not one vector for each input")
    vectors = vectors.astype(np.float32, copy=False)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all((norms > 0) & np.isfinite(norms)):
        raise ModelError(
            "the encoder gave a vector of length zero, infinite or not a number; the model folder is damaged"
        )
    return np.asarray(vectors / norms, dtype=np.float32)
