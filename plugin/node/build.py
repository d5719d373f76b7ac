"""Building the server plugin from the sources that this package carries, with Maven."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from platform import machine, system

from crosslens.errors import NodeError
from crosslens.node.home import cache_folder
from crosslens.node.jvm import find_java

PLATFORMS = ("linux-x64", "linux-aarch64", "macos-aarch64", "windows-x64")
DEVICES = ("cpu", "cuda")
_CUDA_PLATFORMS = ("linux-x64", "windows-x64")
_SOURCES = Path(__file__).parent.parent / "server"
_DEMO = Path(__file__).parent.parent / "demo" / "data"


def cached_plugin(version: str, java: Path | None = None) -> Path:
    """Return the plugin's zip for ``version`` and this machine, built on first use and after its sources changed.

    Raises `NodeError` as `build_plugin` does.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in _SOURCES.rglob("*") if path.is_file() and "target" not in path.parts):
        digest.update(file.relative_to(_SOURCES).as_posix().encode() + b"\0" + file.read_bytes())
    folder = cache_folder() / "plugins" / f"{version}-{digest.hexdigest()[:16]}"
    found = sorted(folder.glob("*.zip"))
    return found[0] if found else build_plugin(version, folder, java=java)


def build_plugin(
    version: str,
    out: Path,
    *,
    platform: str | None = None,
    device: str = "cpu",
    java: Path | None = None,
    tests: bool = False,
) -> Path:
    """Build the plugin's zip for Elasticsearch ``version`` into ``out``, for this machine or another ``platform``.

    For the ``device`` cuda it has the build of ONNX Runtime for NVIDIA's cards (400 MB; Linux and Windows, x64). Its nodes
    need CUDA and cuDNN, and the setting ``crosslens.device: cuda``.

    Beside it lie its CycloneDX bill of materials (``.cdx.json``) and the sha256 of both, as ``sha256sum -c`` reads it.

    Needs Maven and, for uncached artifacts, the Maven registry; ``tests`` also runs the plugin's own tests. Raises
    `NodeError` for a missing Maven, a missing or outdated Java, or a failed build (with the end of its output).
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise NodeError("building the plugin needs Maven", hint="install it (for example the package maven)")
    if platform is not None and platform not in PLATFORMS:
        raise NodeError(
            f"unknown platform {platform!r}", hint=f"give one of {', '.join(PLATFORMS)}", parameter="platform"
        )
    if device not in DEVICES:
        raise NodeError(f"unknown device {device!r}", hint=f"give one of {', '.join(DEVICES)}", parameter="device")
    if device == "cuda" and (platform or _here()) not in _CUDA_PLATFORMS:
        raise NodeError(
            f"ONNX Runtime has no build with CUDA for {platform or _here()}, only for {' and '.join(_CUDA_PLATFORMS)}",
            parameter="platform",
        )
    # The sources define their Java release; the tests load native libraries, as a node does.
    home = find_java(version, java).home
    with tempfile.TemporaryDirectory(prefix="crosslens-plugin-") as tmp:
        # Not among the sources: an installed package isn't the place for build output.
        project = Path(tmp) / "server"
        shutil.copytree(_SOURCES, project, ignore=shutil.ignore_patterns("target"))
        command = [maven, "--batch-mode", "--no-transfer-progress", "-f", str(project), "clean", "package"]
        command += [f"-Des.version={version}", f"-Dcrosslens.demo={_DEMO.resolve()}"]
        command += [f"-Dplatform={platform}"] if platform else []
        command += ["-Donnxruntime.build=onnxruntime_gpu"] if device == "cuda" else []
        command += [] if tests else ["-DskipTests"]
        done = subprocess.run(
            command, env={**os.environ, "JAVA_HOME": str(home)}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if "[ERROR]" in line or "FAIL" in line]
            raise NodeError(f"Maven could not build the plugin for {version}:\n" + "\n".join(said[:30]))
        (built,) = (project / "target").glob("crosslens-server-*.zip")
        out.mkdir(parents=True, exist_ok=True)
        for made in built.parent.glob(f"{built.stem}.*"):
            shutil.copy2(made, out / made.name)
        return out / built.name


def _here() -> str:
    """This machine's platform, by its name in `PLATFORMS` if it is one of them."""
    on, of = system().lower(), machine().lower()
    processor = {"x86_64": "x64", "amd64": "x64", "arm64": "aarch64"}.get(of, of)
    return f"{'macos' if on == 'darwin' else on}-{processor}"
