"""How many inputs run at once: what is fast, and what there is memory for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from crosslens.errors import ModelError
from crosslens.ingest.model.batching import Batches

GRAPH = Path("graph.onnx")


class Machine:
    """A graph that doubles numbers, and its clock: a run takes ``fixed`` seconds and ``each`` by size an input."""

    def __init__(self, fixed: float = 0.0, each: dict[int, float] | None = None, room: int = 1 << 30):
        self.now, self.fixed, self.each, self.room = 0.0, fixed, each or {}, room
        self.sizes: list[int] = []

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        (values,) = inputs.values()
        self.sizes.append(len(values))
        if values.size > self.room:
            raise RuntimeError("std::bad_alloc")
        self.now += self.fixed + len(values) * self.each.get(len(values), 1.0)
        return 2 * values

    def doubles(self, batches: Batches, rows: int, length: int = 1) -> list[int]:
        """Run ``rows`` inputs, see that none is missing, and return the sizes of the runs."""
        self.sizes = []
        given = np.arange(rows * length).reshape(rows, length)
        assert np.array_equal(batches.run(self.run, {"x": given}), 2 * given)
        return self.sizes


def measured(machine: Machine, most: int) -> Batches:
    return Batches(GRAPH, most, measured=True, clock=lambda: machine.now)


@pytest.mark.parametrize(
    ("fixed", "each", "fastest"),
    [
        # Starting a run costs something: the more at once the better.
        (4.0, {}, 32),
        # Large batches leave the processor's caches.
        (0.1, {8: 1.0, 16: 0.9, 32: 1.2}, 16),
        # All the same: the smallest takes the least memory.
        (0.0, {}, 8),
    ],
)
def test_the_fastest_size_is_found_by_the_runs_that_are_needed_anyway(
    fixed: float, each: dict[int, float], fastest: int
) -> None:
    machine = Machine(fixed, each)
    batches = measured(machine, 32)
    done = 0
    for _ in range(8):
        done += sum(machine.doubles(batches, 32))
    assert done == 8 * 32
    assert machine.doubles(batches, 64) == [fastest] * (64 // fastest)
    assert machine.doubles(batches, 5) == [5]


def test_a_pause_of_the_machine_decides_nothing() -> None:
    machine = Machine(4.0)
    batches = measured(machine, 32)
    machine.each = {32: 9.0}
    machine.doubles(batches, 32)
    machine.each = {}
    for _ in range(8):
        machine.doubles(batches, 32)
    assert machine.doubles(batches, 32) == [32]


def test_few_inputs_run_at_once() -> None:
    machine = Machine()
    batches = measured(machine, 32)
    assert [machine.doubles(batches, n) for n in (1, 7, 3)] == [[1], [7], [3]]
    assert machine.doubles(Batches(GRAPH, 32), 70) == [32, 32, 6]


def test_what_there_was_no_memory_for_is_not_tried_at_every_run() -> None:
    machine = Machine(room=100)
    batches = Batches(GRAPH, 32)
    assert machine.doubles(batches, 32, length=10) == [32, 16, 8, 8, 8, 8]
    assert machine.doubles(batches, 32, length=10) == [8, 8, 8, 8]
    # Shorter texts take less.
    assert machine.doubles(batches, 32, length=2) == [32]
    machine.room = 10_000
    while machine.doubles(batches, 32, length=10) != [32]:
        assert len(machine.sizes) > 1


def test_a_graph_of_a_fixed_batch_runs_whole() -> None:
    machine = Machine(room=10)
    batches = Batches(GRAPH, 1, least=4)
    assert machine.doubles(batches, 4) == [4]
    with pytest.raises(ModelError, match=r"graph\.onnx can't be run \(std::bad_alloc\)"):
        machine.doubles(batches, 4, length=10)


def test_no_inputs_give_no_outputs() -> None:
    assert Batches(GRAPH, 32, measured=True).run(Machine().run, {"x": np.empty((0, 3))}).shape == (0, 3)
