"""What an encoder runs on: ONNX Runtime's sessions, by the execution providers that are installed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import onnxruntime as ort

from crosslens.errors import ModelError
from crosslens.ingest.model.graph import read_graph
from crosslens.ingest.model.parts import cut_out

_LOG = logging.getLogger("crosslens")
_CPU = "CPUExecutionProvider"
_PROVIDERS = {
    "cpu": _CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "rocm": "ROCMExecutionProvider",
}
DEVICES = ("auto", *_PROVIDERS)
# Where a provider comes from: a package that stands in for onnxruntime, which must be removed first.
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "directml": "onnxruntime-directml",
    "rocm": "onnxruntime-rocm",
}
# In order. The others are taken only when they are named: TensorRT builds its engines for minutes, and CoreML and
# OpenVINO compute in lower precision unless told otherwise.
_AUTOMATIC = ("cuda", "rocm", "directml")
_NO_ROOM = ("out of memory", "failed to allocate memory", "bad allocation", "bad_alloc", "alloc_failed", "outofmemory")
# float32 vectors are compared with those that other machines made, so none may compute in less.
_OPTIONS: dict[str, dict[str, Any]] = {
    "openvino": {"device_type": "CPU", "precision": "FP32"},
    "cuda": {"use_tf32": "0"},
}


def load_session(path: Path, threads: int = 0, device: str = "cpu", part: str | None = None) -> ort.InferenceSession:
    """Return an ONNX Runtime session; ``device`` is one of `DEVICES`, and auto the best that works here.

    Raises `ModelError` when the file isn't a graph that it can run, or the device isn't there.
    """
    chosen = _chosen(device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # The arena keeps the largest batch's memory for ever; off, it costs no measurable time and a third less memory.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    # Idle threads that spin take the cores from those that decode images, and from a server on the same machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if chosen == "directml":
        # As its documentation asks for.
        options.enable_mem_pattern = False
    model: str | bytes = str(path)
    if part is not None:
        model = cut_out(read_graph(path), part)
        # Where weights beside the graph are looked for, now that it has no place of its own.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    wanted = [] if chosen == "cpu" else [(_PROVIDERS[chosen], _OPTIONS.get(chosen, {}))]
    try:
        session = ort.InferenceSession(model, options, providers=[*wanted, _CPU])
    except Exception as error:
        raise ModelError(f"{path} can't be loaded by ONNX Runtime ({error})") from error
    # ONNX Runtime goes on with the processor where a provider's own libraries can't be loaded.
    if wanted and _PROVIDERS[chosen] not in session.get_providers():
        if device != "auto":
            raise ModelError(
                f"ONNX Runtime can't use {chosen}: its libraries or its device are missing",
                hint="ONNX Runtime's own message on standard error says which",
                parameter="device",
            )
        _LOG.info("ONNX Runtime can't use %s, so %s runs on the processor", chosen, path)
    return session


def require(device: str) -> None:
    """Raise `ModelError` unless ``device`` is one of `DEVICES` whose provider is installed."""
    _chosen(device)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a run failed for lack of memory, so that fewer inputs at once may succeed."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in _NO_ROOM)


def _chosen(device: str) -> str:
    if device not in DEVICES:
        raise ModelError(f"there is no device {device!r}", hint=f"take {', '.join(DEVICES)}", parameter="device")
    there = set(ort.get_available_providers())
    if device == "auto":
        return next((each for each in _AUTOMATIC if _PROVIDERS[each] in there), "cpu")
    if _PROVIDERS[device] not in there:
        package = _PACKAGES.get(device)
        hint = f"install {package} in place of onnxruntime" if package else "its package is for another system"
        raise ModelError(
            f"the installed ONNX Runtime ({ort.__version__}) doesn't come with {device}", hint=hint, parameter="device"
        )
    return device
