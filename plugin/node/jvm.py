"""Finding a Java that can run, and compile for, the embedded node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from crosslens.errors import NodeError

_INSTALLED = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"), Path.home() / ".sdkman/candidates/java")


@dataclass(frozen=True)
class Java:
    """A Java home with its feature release (17, 21, 25)."""

    home: Path
    release: int

    @property
    def java(self) -> Path:
        """Return the virtual machine."""
        return self.home / "bin" / "java"

    @property
    def javac(self) -> Path:
        """Return the compiler; absent where only a JRE is installed."""
        return self.home / "bin" / "javac"


def required_release(version: str) -> int:
    """Return the oldest Java release that Elasticsearch ``version`` runs on: 21 from 9.0, 17 before."""
    # On Java 17 the 8.x server detects that it runs as root, and refuses; on 21 these jars have no native check.
    return 17 if int(version.split(".")[0]) < 9 and os.geteuid() != 0 else 21


def compiled_release(version: str) -> int:
    """Return the release that our Java sources are compiled for, so that a home suits every Java that may run it."""
    return 21 if int(version.split(".")[0]) >= 9 else 17


def find_java(version: str, explicit: Path | None = None) -> Java:
    """Return the first Java development kit new enough for Elasticsearch ``version``.

    Looks at ``explicit``, JAVA_HOME, ``java`` on PATH and the installed ones, and finally lets jgo's cjdk fetch one.
    Raises `NodeError`, listing the candidates, when none is new enough or ``explicit`` is not.
    """
    needed = required_release(version)
    if explicit is not None:
        java = _inspect(explicit)
        if java is None or java.release < needed or not java.javac.exists():
            raise NodeError(
                f"{explicit} is {_describe(java)}, "
                f"but Elasticsearch {version} needs a Java development kit of release {needed} or newer",
                hint="name the home of one, or none",
                parameter="java",
            )
        return java
    seen: list[str] = []
    for home in _candidates():
        java = _inspect(home)
        if java is not None and java.release >= needed and java.javac.exists():
            return java
        seen.append(f"{home} ({_describe(java)})")
    fetched = _fetch(needed)
    if fetched is not None:
        return fetched
    found = "; found " + ", ".join(seen) if seen else "; found none"
    raise NodeError(
        f"Elasticsearch {version} needs a Java development kit of release {needed} or newer{found}",
        hint=f"install one (for example openjdk-{needed}-jdk), or name one, here or in JAVA_HOME",
        parameter="java",
    )


def _candidates() -> list[Path]:
    homes: list[Path] = []
    if os.environ.get("JAVA_HOME"):
        homes.append(Path(os.environ["JAVA_HOME"]))
    on_path = shutil.which("java")
    # macOS has a /usr/bin/java that only offers to install Java.
    if on_path and not (sys.platform == "darwin" and on_path == "/usr/bin/java"):
        homes.append(Path(on_path).resolve().parent.parent)
    for folder in _INSTALLED:
        if folder.is_dir():
            for home in sorted(folder.iterdir(), reverse=True):
                homes.append(home / "Contents" / "Home" if (home / "Contents" / "Home").is_dir() else home)
    unique: dict[Path, Path] = {}
    for home in homes:
        if home.is_dir():
            unique.setdefault(home.resolve(), home)
    return list(unique)


def _inspect(home: Path) -> Java | None:
    java = home / "bin" / "java"
    if not java.exists():
        return None
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return Java(home, int(match[1])) if match else None


def _describe(java: Java | None) -> str:
    if java is None:
        return "no working Java"
    return f"Java {java.release}" + ("" if java.javac.exists() else ", without the compiler")


def _fetch(release: int) -> Java | None:
    try:
        import cjdk
    except ImportError:
        return None
    try:
        return _inspect(Path(cjdk.java_home(vendor="temurin", version=str(release))))
    except Exception as error:  # noqa: BLE001 - cjdk raises whatever its downloads raise; any means that it has none
        print(f"crosslens: no Java could be downloaded ({type(error).__name__}: {error})", file=sys.stderr)
        return None
