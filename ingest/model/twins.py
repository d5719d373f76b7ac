"""A float32 model folder's quantised twin: what it loses, and whether it takes the folder's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from crosslens.ingest.model.batching import Inputs
from crosslens.ingest.model.calibration import Calibration
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.folder import FLOAT32
from crosslens.ingest.model.precision import Bounds, Choice, Loss, Tower, choose, recall
from crosslens.ingest.model.storing import remove, rename
from crosslens.ingest.model.transform import Float32Array

_BATCH = 16
_MORE = 4


def quantise_folder(
    encoder: Encoder,
    calibration: Calibration,
    *,
    search: bool,
    keep: bool,
    bounds: Bounds,
    progress: Callable[[str], None],
) -> tuple[tuple[Choice, ...], Loss | None]:
    """Put quantised graphs in the place of the float32 ones that ``encoder`` has opened, where `choose` finds that
    harmless; with ``keep``, those go to the folder `FLOAT32` within.

    Returns what became of each encoder, and what searches lose that compare vectors of both precisions or of int8
    alone; None where nothing was quantised.
    """
    folder = encoder.folder
    progress("encoding texts and pictures to calibrate by")
    towers = [Tower("text", folder.text_model, folder.text_ports.output, list(encoder.text_batches(calibration.texts)))]
    if folder.vision_model is not None and folder.vision_ports is not None:
        batches = _image_batches(encoder, calibration)
        towers.append(Tower("image", folder.vision_model, folder.vision_ports.output, batches))
    least = {tower.kind: 0 for tower in towers}
    choices, loss = _chosen(towers, bounds, search, least, progress)
    # Each within the bounds, both together may exceed them: then the one that loses more keeps more in float32.
    for _ in range(_MORE if search else 0):
        made = [each for each in choices if each.precision == "int8" and each.loss is not None]
        if loss is None or loss.within(bounds) or not made:
            break
        worst = min(made, key=lambda each: each.loss.recall if each.loss else 1.0)
        least[worst.kind] = len(worst.kept) + max(worst.layers // 10, 1)
        progress("choosing again, since searches lose more than each encoder by itself")
        choices, loss = _chosen(towers, bounds, search, least, progress)
    if loss is None:
        return choices, None
    if search and not loss.within(bounds):
        why = f"searches in int8 find {loss.recall:.3f} of what float32 finds, though each encoder alone loses less"
        for tower in towers:
            remove(tower.path.with_suffix(".int8.onnx"))
        return tuple(_refused(choice, why) for choice in choices), None
    for tower, choice in zip(towers, choices, strict=True):
        if choice.precision == "int8":
            _replace(tower.path, folder.path, keep)
    return choices, loss


def _chosen(
    towers: Sequence[Tower],
    bounds: Bounds,
    search: bool,
    least: dict[str, int],
    progress: Callable[[str], None],
) -> tuple[tuple[Choice, ...], Loss | None]:
    """Choose for each encoder, and return what searches then lose; None where none was quantised."""
    choices, made = [], []
    for tower in towers:
        other = next((each for each in towers if each is not tower), None)
        progress(f"quantising the {tower.kind} encoder")
        out = tower.path.with_suffix(".int8.onnx")
        choice, vectors = choose(
            tower, other, out, bounds=bounds, search=search, least=least[tower.kind], progress=progress
        )
        choices.append(choice)
        made.append(vectors)
    if all(choice.precision == "fp32" for choice in choices):
        return tuple(choices), None
    return tuple(choices), _between(list(zip(towers, made, strict=True)))


def _image_batches(encoder: Encoder, calibration: Calibration) -> list[tuple[list[int], Inputs]]:
    pixels = [encoder.prepare_image(image) for image in calibration.images]
    numbers = list(range(len(pixels)))
    starts = range(0, len(pixels), _BATCH)
    return [(numbers[i : i + _BATCH], encoder.image_inputs(np.stack(pixels[i : i + _BATCH]))) for i in starts]


def _between(made: Sequence[tuple[Tower, Float32Array]]) -> Loss:
    """Return the greatest loss of any search, by texts or within one kind, given the vectors ``made`` of each encoder:
    by either precision's queries among either's vectors."""
    cosines = np.concatenate([(tower.vectors.astype(np.float64) * vectors).sum(1) for tower, vectors in made])
    searches = [(each, each) for each in made] + list(pairwise(made))
    recalls = [
        recall(asked.vectors, among.vectors, queries, vectors, same=asked is among)
        for (asked, asked_made), (among, among_made) in searches
        for queries in (asked.vectors, asked_made)
        for vectors in (among.vectors, among_made)
    ]
    return Loss(float(cosines.mean()), float(cosines.min()), min(recalls))


def _refused(choice: Choice, why: str) -> Choice:
    return choice if choice.precision == "fp32" else replace(choice, precision="fp32", why=why)


def _replace(graph: Path, root: Path, keep: bool) -> None:
    """Put the quantised graph in the place of ``graph``, which is kept below `FLOAT32` or removed."""
    made = graph.with_suffix(".int8.onnx")
    beside = graph.with_name(f"{graph.name}_data")
    if keep:
        kept = root / FLOAT32 / graph.relative_to(root)
        kept.parent.mkdir(parents=True, exist_ok=True)
        if beside.exists():
            beside.replace(kept.with_name(beside.name))
        graph.replace(kept)
    else:
        remove(graph)
    rename(made, graph)
