"""What an encoder runs on: asked for by name, there or not, and short of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from crosslens.errors import ModelError
from crosslens.ingest.model import devices
from crosslens.ingest.model.encoder import Encoder

TEXTS = ["a", "a cat", "a dog", "shoes", "a photo of a cat and a dog"]


def test_a_device_that_is_not_there_is_said_with_its_package(models: Path) -> None:
    absent = [name for name, provider in devices._PROVIDERS.items() if provider not in ort.get_available_providers()]
    assert absent
    for name in absent:
        with pytest.raises(ModelError, match=f"doesn't come with {name}; (install onnxruntime-|its package)") as error:
            Encoder(models / "small", device=name)
        assert error.value.parameter == "device"


def test_an_unknown_device_is_refused(models: Path) -> None:
    with pytest.raises(ModelError, match="there is no device 'tpu'; take auto, cpu, cuda"):
        Encoder(models / "small", device="tpu")


def test_auto_and_cpu_give_the_same_vectors_here(models: Path) -> None:
    made = [Encoder(models / "small", device=device).encode_texts(TEXTS) for device in ("auto", "cpu")]
    assert np.allclose(*made, atol=1e-5)


def test_a_provider_whose_libraries_are_missing_is_an_error_where_it_was_named(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with onnxruntime-gpu on a machine without CUDA: the provider is listed, and its session runs elsewhere."""
    real = ort.InferenceSession

    def fallen_back(path: str, options: Any, providers: Any) -> ort.InferenceSession:
        return real(path, options, providers=providers[-1:])

    monkeypatch.setattr(ort, "InferenceSession", fallen_back)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(ModelError, match="can't use cuda: its libraries or its device are missing"):
        Encoder(models / "small", device="cuda").encode_texts(TEXTS)
    assert Encoder(models / "small", device="auto").encode_texts(TEXTS).shape == (5, 24)


class Small:
    """A session on a device that has room for ``most`` inputs at once."""

    def __init__(self, session: ort.InferenceSession, most: int, message: str):
        self.session, self.most, self.message = session, most, message
        self.sizes: list[int] = []

    def run(self, outputs: list[str], inputs: dict[str, Any]) -> Any:
        rows = len(next(iter(inputs.values())))
        self.sizes.append(rows)
        if rows > self.most:
            raise RuntimeError(self.message)
        return self.session.run(outputs, inputs)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failure 2: out of memory ; GPU=0",
        "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1024",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
    ],
)
def test_too_little_memory_is_answered_by_smaller_batches(models: Path, message: str) -> None:
    encoder, expected = Encoder(models / "small"), Encoder(models / "small").encode_texts(TEXTS)
    small = Small(encoder._session(encoder.folder.text_ports), 2, message)
    encoder._sessions[encoder.folder.text_model, None] = small
    assert np.allclose(encoder.encode_texts(TEXTS), expected, atol=1e-5)
    assert small.sizes == [5, 2, 3, 1, 2]
    small.most = 0
    with pytest.raises(ModelError, match="can't be run"):
        encoder.encode_texts(["a"])


def test_other_failures_are_not_tried_again(models: Path) -> None:
    encoder = Encoder(models / "small")
    small = Small(encoder._session(encoder.folder.text_ports), 2, "Got invalid dimensions for input")
    encoder._sessions[encoder.folder.text_model, None] = small
    with pytest.raises(ModelError, match="invalid dimensions"):
        encoder.encode_texts(TEXTS)
    assert small.sizes == [5]
