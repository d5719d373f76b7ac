"""What an encoder runs on: asked for by name, there or not, and short of memory."""

from __future__ import annotations

import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from crosslens.errors import ModelError
from crosslens.ingest.model import devices
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL

TEXTS = ["a", "a cat", "a dog", "shoes", "a photo of a cat and a dog"]


def test_a_device_that_is_not_there_is_said_with_its_package(models: Path) -> None:
    there = ort.get_available_providers()
    absent = [n for n, each in devices._DEVICES.items() if each.provider not in there and not devices._beside(each)]
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

    def fallen_back(path: str, options: Any, providers: Any, **others: Any) -> ort.InferenceSession:
        return real(path, options, providers=providers[-1:], **others)

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
    small = Small(encoder._graphs._session(encoder.folder.text_ports), 2, message)
    encoder._graphs._sessions[encoder.folder.text_model, None] = small
    assert np.allclose(encoder.encode_texts(TEXTS), expected, atol=1e-5)
    assert small.sizes == [5, 2, 2, 1]
    small.most = 0
    with pytest.raises(ModelError, match="can't be run"):
        encoder.encode_texts(["a"])


def test_other_failures_are_not_tried_again(models: Path) -> None:
    encoder = Encoder(models / "small")
    small = Small(encoder._graphs._session(encoder.folder.text_ports), 2, "Got invalid dimensions for input")
    encoder._graphs._sessions[encoder.folder.text_model, None] = small
    with pytest.raises(ModelError, match="invalid dimensions"):
        encoder.encode_texts(TEXTS)
    assert small.sizes == [5]


_LITTLE_MEMORY = """
import logging, resource, sys
import numpy as np
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL

logging.basicConfig(level=logging.INFO, stream=sys.stdout)
encoder = Encoder(sys.argv[1], batch_size=2048, threads=1)
expected = encoder.encode_texts(["a photo of a cat and a dog"])
status = open("/proc/self/status").read().splitlines()
used = int(next(line for line in status if line.startswith("VmSize:")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (80 << 20), resource.RLIM_INFINITY))
# Two layers' numbers take 150 MB.
made = encoder.encode_texts(["a photo of a cat and a dog"] * 2048)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert made.shape == (2048, encoder.dims) and np.allclose(made, expected, atol=1e-5)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is limited as on Linux")
def test_a_process_with_too_little_memory_encodes_in_smaller_batches() -> None:
    command = [sys.executable, "-c", _LITTLE_MEMORY, str(DEMO_MODEL)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "had too little memory for 2048 inputs at once, and takes half" in done.stdout


@pytest.mark.skipif(
    util.find_spec("onnxruntime_ep_openvino") is None
    and "OpenVINOExecutionProvider" not in ort.get_available_providers(),
    reason="neither onnxruntime-ep-openvino nor onnxruntime-openvino is installed",
)
def test_openvino_gives_the_vectors_of_the_processor() -> None:
    here, there = (Encoder(DEMO_MODEL, device=device) for device in ("cpu", "openvino"))
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (90, 70, 3), dtype=np.uint8) for _ in range(40)]
    assert np.allclose(here.encode_texts(TEXTS), there.encode_texts(TEXTS), atol=1e-5)
    assert np.allclose(here.encode_images(pictures), there.encode_images(pictures), atol=1e-5)
    assert there._graphs._session(there.folder.vision_ports).get_providers()[0] == "OpenVINOExecutionProvider"
    with pytest.raises(ModelError, match="openvino-gpu"):
        Encoder(DEMO_MODEL, device="openvino-gpu").encode_texts(TEXTS)


def test_a_provider_that_can_not_load_a_graph_is_an_error_where_it_was_named(
    models: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As with TensorRT, whose missing libraries make ONNX Runtime raise; left to itself it prints and goes on."""
    real = ort.InferenceSession

    def refused(path: str, options: Any, providers: Any, **others: Any) -> ort.InferenceSession:
        if len(providers) > 1:
            raise RuntimeError("Please install TensorRT libraries")
        return real(path, options, providers=providers, **others)

    monkeypatch.setattr(ort, "InferenceSession", refused)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(ModelError, match=r"can't be loaded by ONNX Runtime on cuda \(Please install"):
        Encoder(models / "small", device="cuda").encode_texts(TEXTS)
    assert Encoder(models / "small", device="auto").encode_texts(TEXTS).shape == (5, 24)
    assert capfd.readouterr().out == ""


def test_two_builds_of_onnx_runtime_at_once_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_is_installed", lambda package: package in ("onnxruntime", "onnxruntime-gpu"))
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="overwrite each other: uninstall both, then install onnxruntime-gpu"):
        Encoder(DEMO_MODEL, device="cuda")
    with pytest.raises(ModelError, match="install onnxruntime-rocm in place of onnxruntime"):
        Encoder(DEMO_MODEL, device="rocm")
