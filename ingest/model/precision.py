"""Whether and where an encoder can be quantised without harm: measured, layer by layer, against its float32 graph.

Activations of large transformers have channels of outliers, which 8 bits can't hold beside the others (LLM.int8(),
Dettmers et al. 2022; SmoothQuant, Xiao et al. 2023). Which layers suffer is found by quantising each alone; those that
lose most stay in float32, as few as bring the whole within `Bounds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from crosslens.ingest.model.batching import Inputs
from crosslens.ingest.model.devices import load_session
from crosslens.ingest.model.quantize import SWITCHES, layers, quantised, switched
from crosslens.ingest.model.running import unit
from crosslens.ingest.model.storing import remove, save
from crosslens.ingest.model.transform import Float32Array

Batches = Sequence[tuple[Sequence[int], Inputs]]
SIZES = (1, 16)
_TOP = 10
# Inputs by which layers are compared with each other, and seconds for each comparison of speeds.
_SAMPLE, _SECONDS = 16, 1.5
# With more than this share in float32, what is left gains nothing worth a second set of vectors.
_MOST_KEPT = 0.5


@dataclass(frozen=True)
class Loss:
    """How far quantised vectors are from float32's: cosines of each input's two vectors, and the share of float32's
    first ten among all others (or the other encoder's) that a search still finds among its first ten."""

    cosine_mean: float
    cosine_min: float
    recall: float

    def within(self, bounds: Bounds) -> bool:
        """Return whether none exceeds its bound."""
        return (
            self.cosine_mean >= bounds.cosine_mean
            and self.cosine_min >= bounds.cosine_min
            and self.recall >= bounds.recall
        )


@dataclass(frozen=True)
class Bounds:
    """The least that quantised vectors must reach to count as harmless."""

    cosine_mean: float = 0.999
    cosine_min: float = 0.99
    recall: float = 0.98


@dataclass(frozen=True)
class Choice:
    """What became of one encoder: ``precision`` is int8 or fp32; ``kept`` are the layers that stay in float32 of all
    ``layers``; ``why`` says why none was quantised. Speeds are inputs a second by batch size (`SIZES`)."""

    kind: str
    precision: str
    layers: int
    kept: tuple[str, ...] = ()
    loss: Loss | None = None
    fp32_rates: tuple[float, ...] = ()
    int8_rates: tuple[float, ...] = ()
    why: str = ""


@dataclass
class Tower:
    """One encoder of a float32 export: its ``kind`` (text or image), its graph, and the calibration set's ``batches``
    with the exact ``vectors`` [n, dims] that it gives them; ``across`` are those of the other encoder."""

    kind: str
    path: Path
    output: str
    batches: Batches
    vectors: Float32Array = field(init=False)
    # The layers' numbers, the one that loses most first; once they have been compared.
    order: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.vectors = self.encode(load_session(self.path))

    def encode(
        self, session: ort.InferenceSession, more: Inputs | None = None, most: int | None = None
    ) -> Float32Array:
        """Return the vectors [n, dims] that a session gives to the calibration set, or to ``most`` inputs of it."""
        count = sum(len(rows) for rows, _ in self.batches)
        vectors: Float32Array | None = None
        for rows, inputs in self.batches if most is None else self.sample(most):
            made = unit(np.asarray(session.run([self.output], {**inputs, **(more or {})})[0]))
            if vectors is None:
                vectors = np.full((count, made.shape[1]), np.nan, np.float32)
            vectors[list(rows)] = made
        assert vectors is not None
        return vectors

    def sample(self, most: int) -> Batches:
        """Return about ``most`` inputs, from the ends and the middle of the batches."""
        chosen = [self.batches[0], self.batches[len(self.batches) // 2], self.batches[-1]]
        share = max(most // len(chosen), 1)
        return [(rows[:share], {name: values[:share] for name, values in inputs.items()}) for rows, inputs in chosen]


def measure(tower: Tower, made: Float32Array, other: Tower | None) -> Loss:
    """Return what ``made`` in place of the tower's own vectors loses, within it and with the other encoder's, if the
    model has one."""
    cosines = (tower.vectors.astype(np.float64) * made).sum(1)
    recalls = [recall(tower.vectors, tower.vectors, made, made, same=True)]
    if other is not None and tower.kind == "text":
        recalls.append(recall(tower.vectors, other.vectors, made, other.vectors))
    elif other is not None:
        recalls.append(recall(other.vectors, tower.vectors, other.vectors, made))
    return Loss(float(cosines.mean()), float(cosines.min()), min(recalls))


def recall(
    exact_queries: Float32Array, exact: Float32Array, queries: Float32Array, made: Float32Array, *, same: bool = False
) -> float:
    """Return the mean share of the exact first ten that searches by ``queries`` in ``made`` find among theirs.

    ``same``: queries and vectors are of the same inputs, and none counts as found by itself. Of fewer than twenty
    vectors, half count in place of ten.
    """
    first = max(min(_TOP, (len(exact) - same) // 2), 1)
    sets = []
    for asked, among in ((exact_queries, exact), (queries, made)):
        scores = asked.astype(np.float64) @ among.T.astype(np.float64)
        if same:
            np.fill_diagonal(scores, -np.inf)
        sets.append(np.argsort(-scores, axis=1, kind="stable")[:, :first])
    return float(np.mean([len(set(a) & set(b)) / first for a, b in zip(*sets, strict=True)]))


def choose(
    tower: Tower,
    other: Tower | None,
    out: Path,
    *,
    bounds: Bounds,
    search: bool,
    least: int,
    progress: Callable[[str], None],
) -> tuple[Choice, Float32Array]:
    """Quantise a tower's graph into ``out`` if that is harmless and faster; otherwise nothing is written.

    Without ``search`` all layers are quantised, whatever that loses; with it at ``least`` so many stay in float32.
    Also returns the vectors [n, dims] that the calibration set then has.
    """
    model = onnx.load(str(tower.path))
    names = [layer.name for layer in layers(model)]
    if not names:
        return Choice(tower.kind, "fp32", 0, why="it has no matrix products to quantise"), tower.vectors
    kept: tuple[str, ...] = ()
    made = _write(tower, model, names, out)
    loss = measure(tower, made, other)
    rates = speeds(tower, out)
    why = _slower(rates) if search else ""
    if search and not why and (least or not loss.within(bounds)):
        progress(f"looking for the layers of the {tower.kind} encoder that lose most")
        found = _search(tower, other, model, names, out, bounds, least)
        if found is None:
            why = f"half of its layers in float32 don't bring it within the bounds, {_described(bounds)}"
        else:
            kept = found
            made = _write(tower, model, [name for name in names if name not in kept], out)
            loss = measure(tower, made, other)
            rates = speeds(tower, out)
            why = _slower(rates)
    if why:
        remove(out)
        return Choice(tower.kind, "fp32", len(names), kept, loss, *rates, why=why), tower.vectors
    return Choice(tower.kind, "int8", len(names), kept, loss, *rates), made


def _write(tower: Tower, model: onnx.ModelProto, names: Collection[str], out: Path) -> Float32Array:
    """Quantise these layers into ``out``, and return the vectors that it gives to the calibration set."""
    save(quantised(model, set(names)), out)
    return tower.encode(load_session(out))


def _search(
    tower: Tower,
    other: Tower | None,
    model: onnx.ModelProto,
    names: list[str],
    out: Path,
    bounds: Bounds,
    least: int,
) -> tuple[str, ...] | None:
    """Return the layers to leave in float32: of those that lose most, as few as bring the rest within the bounds."""
    save(switched(model), out)
    session = load_session(out)
    remove(out)
    tower.order = tower.order or _by_loss(tower, session, len(names))

    def suffices(count: int) -> bool:
        made = tower.encode(session, _switches(len(names), tower.order[count:]))
        return measure(tower, made, other).within(bounds)

    most = int(len(names) * _MOST_KEPT)
    if least > most or not suffices(most):
        return None
    low = max(least, 1) - 1
    while most - low > 1:
        middle = (low + most) // 2
        low, most = (low, middle) if suffices(middle) else (middle, most)
    return tuple(names[i] for i in sorted(tower.order[:most]))


def _by_loss(tower: Tower, session: ort.InferenceSession, count: int) -> list[int]:
    """Return the numbers of the layers, first the one whose quantisation alone loses most."""
    exact = tower.encode(session, _switches(count, ()), _SAMPLE)
    seen = ~np.isnan(exact[:, 0])
    losses = []
    for number in range(count):
        alone = tower.encode(session, _switches(count, (number,)), _SAMPLE)
        losses.append(1 - float((exact[seen].astype(np.float64) * alone[seen]).sum(1).mean()))
    return [int(i) for i in np.argsort(-np.array(losses), kind="stable")]


def _switches(count: int, on: Collection[int]) -> dict[str, NDArray[Any]]:
    return {SWITCHES: np.isin(np.arange(count), list(on))}


def speeds(tower: Tower, quantised_path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return inputs a second of float32 and of the quantised graph, by batch size: the best of alternating runs."""
    sessions = [load_session(path) for path in (tower.path, quantised_path)]
    rates: tuple[list[float], list[float]] = ([], [])
    for size in SIZES:
        _, inputs = tower.batches[len(tower.batches) // 2]
        given = {name: np.resize(values, (size, *values.shape[1:])) for name, values in inputs.items()}
        best = [float("inf")] * 2
        until, rounds = time.perf_counter() + _SECONDS, 0
        while rounds < 3 or time.perf_counter() < until:
            rounds += 1
            for i, session in enumerate(sessions):
                started = time.perf_counter()
                session.run([tower.output], given)
                best[i] = min(best[i], time.perf_counter() - started)
        for rate, took in zip(rates, best, strict=True):
            rate.append(size / took)
    return tuple(rates[0]), tuple(rates[1])


def _slower(rates: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """Return why quantised isn't faster on this machine, or nothing."""
    for size, exact, made in zip(SIZES, *rates, strict=True):
        if made < exact:
            return f"int8 isn't faster on this machine: {made:.3g} a second by {size} at a time, float32 {exact:.3g}"
    return ""


def _described(bounds: Bounds) -> str:
    return f"cosine {bounds.cosine_mean} mean and {bounds.cosine_min} least, recall {bounds.recall}"
