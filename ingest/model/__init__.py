"""Encoders: exporting, loading and running them."""

import os

# From 1.29 on, ONNX Runtime sends telemetry to its maker unless the environment forbids it before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
