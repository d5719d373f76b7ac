"""Which encoder makes the vectors of a field: one that was given, or one whose folder this machine remembers."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from crosslens import models
from crosslens.errors import ModelError
from crosslens.ingest.contract import VectorField
from crosslens.ingest.encoder import Encoder


class Encoders:
    """Encoders by fingerprint. May be used from several threads."""

    def __init__(self, given: Iterable[Encoder] = (), *, batch_size: int = 32, threads: int = 0):
        """``batch_size`` and ``threads`` are for encoders that are looked up, see `Encoder`."""
        self._known = {encoder.fingerprint: encoder for encoder in given}
        self._given = list(self._known.values())
        self._batch_size, self._threads = batch_size, threads
        self._lock = threading.Lock()

    @classmethod
    def of(cls, given: Encoder | Encoders | Iterable[Encoder] | None) -> Encoders:
        """Encoders from what callers give: one, several, or None for those that the machine remembers."""
        if isinstance(given, Encoders):
            return given
        return cls([] if given is None else [given] if isinstance(given, Encoder) else given)

    def given(self) -> Encoder:
        """The one encoder that was given, for new fields. Raises `ModelError` when it is none, or several."""
        if len(self._given) != 1:
            raise ModelError("new vector fields need one model to be named")
        return self._given[0]

    def check(self, fields: Iterable[VectorField], index: str) -> None:
        """Raises `ModelError`, naming both, where an encoder that was given is of no model that ``fields`` have."""
        fields = list(fields)
        for given in self._given:
            if fields and given.fingerprint not in {each.fingerprint for each in fields}:
                each = fields[0]
                raise ModelError(
                    f"the vectors in {each.field!r} of index {index!r} are of {each.model} ({each.fingerprint}), "
                    f"not of {given.name} ({given.fingerprint}); use the index's model, or change the index's with: "
                    f"crosslens migrate {index} --model FOLDER"
                )

    def for_field(self, field: VectorField) -> Encoder:
        """The encoder of ``field``. Raises `ModelError` when it wasn't given and isn't remembered either."""
        with self._lock:
            if field.fingerprint not in self._known:
                folder = models.find(field.fingerprint, field.model)
                self._known[field.fingerprint] = Encoder(folder, batch_size=self._batch_size, threads=self._threads)
            return self._known[field.fingerprint]
