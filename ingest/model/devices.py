"""What an encoder runs on: ONNX Runtime's sessions, by the execution providers that are installed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import logging
import sys
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

import onnxruntime as ort

from crosslens.errors import ModelError
from crosslens.ingest.model.graph import read_graph
from crosslens.ingest.model.parts import cut_out

_LOG = logging.getLogger("crosslens")
_CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class _Device:
    """An execution provider, and where it comes from.

    ``package`` is a build of ONNX Runtime that must stand in the place of the usual one; ``plugin`` a package beside
    it, whose provider is registered, has ``plugin_options``, and runs on the hardware of that ``kind``.
    """

    provider: str
    options: dict[str, Any] = field(default_factory=dict)
    package: str = ""
    plugin: str = ""
    plugin_options: dict[str, str] = field(default_factory=dict)
    kind: str = ""


def _openvino(kind: str) -> _Device:
    # float32 vectors are compared with those that other machines made, and OpenVINO computes in less unless told.
    plugin = {"load_config": json.dumps({kind: {"INFERENCE_PRECISION_HINT": "f32"}})}
    options = {"device_type": kind, "precision": "FP32"}
    return _Device(
        "OpenVINOExecutionProvider", options, "onnxruntime-openvino", "onnxruntime-ep-openvino", plugin, kind
    )


_DEVICES = {
    "cpu": _Device(_CPU),
    # Its products of float32 numbers have ten bits otherwise.
    "cuda": _Device("CUDAExecutionProvider", {"use_tf32": "0"}, "onnxruntime-gpu"),
    "tensorrt": _Device("TensorrtExecutionProvider", package="onnxruntime-gpu"),
    "openvino": _openvino("CPU"),
    "openvino-gpu": _openvino("GPU"),
    "coreml": _Device("CoreMLExecutionProvider"),
    "directml": _Device("DmlExecutionProvider", package="onnxruntime-directml"),
    "migraphx": _Device("MIGraphXExecutionProvider", package="onnxruntime-migraphx"),
    "rocm": _Device("ROCMExecutionProvider", package="onnxruntime-rocm"),
}
DEVICES = ("auto", *_DEVICES)
# In order. The others are taken only when they are named: TensorRT and MIGraphX compile for minutes, and CoreML
# computes in lower precision.
_AUTOMATIC = ("cuda", "rocm", "directml")
# On the processor, larger batches leave its caches; those of other memory want many inputs to be busy.
_MOST, _MOST_ELSEWHERE = 32, 256
_ON_PROCESSOR = ("cpu", "openvino")
_NO_ROOM = ("out of memory", "failed to allocate memory", "bad allocation", "bad_alloc", "alloc_failed", "outofmemory")


def load_session(path: Path, threads: int = 0, device: str = "cpu", part: str | None = None) -> ort.InferenceSession:
    """Return an ONNX Runtime session; ``device`` is one of `DEVICES`, and auto the best that works here.

    Raises `ModelError` when the file isn't a graph that it can run, or the device isn't there.
    """
    chosen = _chosen(device)
    wanted = _DEVICES[chosen]
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
    if chosen in ("cuda", "tensorrt"):
        _load_cuda()
    model: str | bytes = str(path)
    if part is not None:
        model = cut_out(read_graph(path), part)
        # Where weights beside the graph are looked for, now that it has no place of its own.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    providers: list[Any] = [_CPU] if chosen == "cpu" else [(wanted.provider, wanted.options), _CPU]
    if chosen != "cpu" and _beside(wanted):
        _add_plugin(chosen, wanted, options)
        # Those of the options hold; ONNX Runtime adds the processor itself.
        providers = []
    try:
        # Its own way to fall back prints to standard output, and goes unnoticed.
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:
        if device == "auto" and chosen != "cpu":
            return _on_processor(path, threads, chosen, part)
        on = "" if chosen == "cpu" else f" on {chosen}"
        raise ModelError(f"{path} can't be loaded by ONNX Runtime{on} ({error})") from error
    # Some providers whose libraries can't be loaded leave everything to the processor.
    if wanted.provider in session.get_providers():
        return session
    if device == "auto":
        return _on_processor(path, threads, chosen, part)
    raise ModelError(
        f"ONNX Runtime can't use {chosen}: its libraries or its device are missing",
        hint="ONNX Runtime's own message on standard error says which",
        parameter="device",
    )


def _on_processor(path: Path, threads: int, instead_of: str, part: str | None) -> ort.InferenceSession:
    _LOG.info("ONNX Runtime can't use %s, so %s runs on the processor", instead_of, path)
    return load_session(path, threads, "cpu", part)


def require(device: str) -> None:
    """Raise `ModelError` unless ``device`` is one of `DEVICES` whose provider is installed."""
    _chosen(device)


def most_inputs(device: str) -> int:
    """Return how many inputs at once may be worth trying on ``device``. Raises as `require`."""
    return _MOST if _chosen(device) in _ON_PROCESSOR else _MOST_ELSEWHERE


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a run failed for lack of memory, so that fewer inputs at once may succeed."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in _NO_ROOM)


def _chosen(device: str) -> str:
    if device not in DEVICES:
        raise ModelError(f"there is no device {device!r}", hint=f"take {', '.join(DEVICES)}", parameter="device")
    there = set(ort.get_available_providers())
    if device == "auto":
        return next((each for each in _AUTOMATIC if _DEVICES[each].provider in there), "cpu")
    wanted = _DEVICES[device]
    if wanted.provider not in there and not _beside(wanted):
        raise ModelError(
            f"the installed ONNX Runtime ({ort.__version__}) doesn't come with {device}",
            hint=_how_to_get(wanted),
            parameter="device",
        )
    return device


def _how_to_get(wanted: _Device) -> str:
    if wanted.plugin:
        return f"install {wanted.plugin} beside onnxruntime, or {wanted.package} in its place"
    if not wanted.package:
        return "its package is for another system"
    if _is_installed(wanted.package) and _is_installed("onnxruntime"):
        # Both fill one folder, and the last one installed wins.
        return f"onnxruntime and {wanted.package} overwrite each other: uninstall both, then install {wanted.package}"
    return f"install {wanted.package} in place of onnxruntime"


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _beside(wanted: _Device) -> bool:
    """Return whether a provider comes from a package of its own, with an ONNX Runtime that takes such."""
    module = wanted.plugin.replace("-", "_")
    return bool(module) and hasattr(ort, "register_execution_provider_library") and util.find_spec(module) is not None


def _add_plugin(device: str, wanted: _Device, options: ort.SessionOptions) -> None:
    """Have ``options`` take a plugin's provider. Raises `ModelError` where its hardware isn't there."""
    try:
        _register(wanted.plugin)
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime ({ort.__version__}) can't load {wanted.plugin} ({error})",
            hint="bring both to versions that go together",
            parameter="device",
        ) from error
    there = [each for each in ort.get_ep_devices() if each.ep_name == wanted.provider]
    fitting = [each for each in there if each.device.type.name == wanted.kind]
    if not fitting:
        found = ", ".join(sorted({each.device.type.name for each in there})) or "none"
        raise ModelError(
            f"{wanted.plugin} finds no hardware here that {device} stands for (found: {found})", parameter="device"
        )
    options.add_provider_for_devices(fitting[:1], wanted.plugin_options)


@functools.cache
def _register(plugin: str) -> None:
    """Register a plugin's provider, which ONNX Runtime allows once in a process."""
    module = importlib.import_module(plugin.replace("-", "_"))
    ort.register_execution_provider_library(f"crosslens.{plugin}", module.get_library_path())


@functools.cache
def _load_cuda() -> None:
    """Load CUDA's libraries from NVIDIA's Python packages, where they are: ONNX Runtime itself looks only in the
    system's folders."""
    if hasattr(ort, "preload_dlls"):
        # It prints what it can't find, and standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            ort.preload_dlls()
