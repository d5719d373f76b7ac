"""Assembling a runnable Elasticsearch home from the jars that Elastic publishes to Maven Central."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import platformdirs

from crosslens.errors import NodeError
from crosslens.local import without_extra
from crosslens.node.jvm import Java, compiled_release
from crosslens.node.locks import held

_JAVA_SOURCES = Path(__file__).parent / "java"
# Incremented when the output of `assemble` changes, so that homes built by older releases are not reused.
_LAYOUT = 2
_TRANSPORT = "transport-netty4"
_ROOT_DESCRIPTOR = """\
name=crosslens-root
description=GET / for clients that ask it first
version={version}
elasticsearch.version={version}
java.version={java}
classname=org.crosslens.node.RootPlugin
"""


def cache_folder() -> Path:
    """Return the folder of assembled homes; CROSSLENS_CACHE overrides the platform's cache folder."""
    return Path(os.environ.get("CROSSLENS_CACHE") or platformdirs.user_cache_path("crosslens"))


def assemble(version: str, java: Java) -> Path:
    """Return the home of Elasticsearch ``version``, assembled on the first call, which needs the Maven registry.

    Several processes may call it at once. Raises `NodeError` when the jars can't be downloaded or our sources
    don't compile against them.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise NodeError(
            f"{version!r} is not an Elasticsearch version", hint="give three numbers, as in 9.5.3", parameter="version"
        )
    home = cache_folder() / f"elasticsearch-{version}-{_LAYOUT}"
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with held(home.parent / f"{home.name}.lock", wait=True):
        if home.is_dir():
            return home
        with tempfile.TemporaryDirectory(dir=home.parent, prefix="assembling-") as tmp:
            built = Path(tmp) / "home"
            _build(built, version, java)
            built.rename(home)
    return home


def _build(home: Path, version: str, java: Java) -> None:
    lib, transport = home / "lib", home / "modules" / _TRANSPORT
    for folder in (lib / "entitlement-bridge", transport, home / "plugins", home / "config"):
        folder.mkdir(parents=True)
    for jar in _resolve(
        f"org.elasticsearch:elasticsearch:{version}+org.elasticsearch.plugin:{_TRANSPORT}:{version}", version
    ):
        of_transport = jar.name.startswith(("netty-", "elasticsearch-ssl-config", _TRANSPORT))
        shutil.copy2(jar, transport if of_transport else lib)
    for jar in _resolve(f"org.elasticsearch:elasticsearch-entitlement-bridge:{version}", version):
        shutil.copy2(jar, lib / "entitlement-bridge")
    inside = f"META-INF/es-plugins/{_TRANSPORT}/"
    with zipfile.ZipFile(transport / f"{_TRANSPORT}-{version}.jar") as archive:
        for name in archive.namelist():
            if name.startswith(inside) and not name.endswith("/"):
                (transport / name.removeprefix(inside)).write_bytes(archive.read(name))
    agent_manifest = "Agent-Class: EntitlementAgent\nCan-Retransform-Classes: true\nCan-Redefine-Classes: true\n"
    _compile(java, version, home, ["agent"], lib / "entitlement-agent" / "agent.jar", agent_manifest)
    _compile(java, version, home, ["console"], lib / "tools" / "ansi-console" / "console.jar")
    _compile(java, version, home, ["launch"], home / "launch.jar")
    root = home / "modules" / "crosslens-root"
    major = int(version.split(".")[0])
    _compile(java, version, home, ["root", f"root{major}"], root / "root.jar")
    (root / "plugin-descriptor.properties").write_text(
        _ROOT_DESCRIPTOR.format(version=version, java=compiled_release(version))
    )


def _resolve(endpoint: str, version: str) -> list[Path]:
    try:
        import jgo
    except ImportError as error:
        raise without_extra() from error
    try:
        folder = Path(jgo.build(endpoint).path)
    except Exception as error:
        raise NodeError(
            f"Elasticsearch {version} could not be downloaded from Maven Central ({type(error).__name__}: {error}); "
            "the first start needs the network",
            hint="check it, the version, and any proxy settings, then start again",
            verb="node start",
        ) from error
    return sorted(folder.glob("*/*.jar"))


def _compile(java: Java, version: str, home: Path, sources: list[str], jar: Path, manifest: str = "") -> None:
    jar.parent.mkdir(parents=True, exist_ok=True)
    files = [file for name in sources for file in sorted((_JAVA_SOURCES / name).glob("*.java"))]
    if not files:
        raise NodeError(f"this release of crosslens has no sources for Elasticsearch {version}: {sources}")
    with tempfile.TemporaryDirectory() as classes:
        command = [str(java.javac), "-proc:none", "-nowarn", "--release", str(compiled_release(version)), "-d", classes]
        done = subprocess.run(
            [*command, "-cp", f"{home / 'lib'}/*", *map(str, files)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NodeError(f"{java.javac} could not compile {jar.name} for {version}:\n{done.stderr.strip()}")
        with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\n{manifest}\n")
            for file in sorted(Path(classes).rglob("*.class")):
                archive.write(file, file.relative_to(classes))
