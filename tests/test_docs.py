"""The documentation says what the code does."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

import crosslens
from crosslens import errors
from crosslens.cli import cli
from crosslens.client import Connection
from tests.conftest import Server
from tests.reference import README, with_reference

ROOT = README.parent


def test_the_reference_is_the_commands_own_help() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_reference(text) == text, "run: make docs"


def test_every_make_target_named_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"`?make ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")))
        assert named - {"it", "them", "the", "vectors", "a"} <= targets, name


def test_the_changelog_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_server_plugin_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (
        f"<artifactId>crosslens-server</artifactId>\n  <version>{version}</version>"
        in (ROOT / "plugin/server/pom.xml").read_text()
    )


def test_links_in_the_documentation_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / link).exists(), f"{name}: {link}"


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in crosslens.__all__:
        assert getattr(crosslens, name).__doc__, name


def test_every_error_has_an_exit_code_and_a_reason_to_exist() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.CrosslensError):
            assert error.exit_code == 2
            assert error.__doc__


def test_nothing_of_this_machine_is_in_the_repository() -> None:
    # Text files only; the pattern is split so that this file doesn't hold it.
    private = re.compile("/(?:" + "work|tmp/w|root" + ")/[a-z]")
    for folder in ("plugin", "ingest", "queries", "tests", "docker"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".java", ".json", ".jsonl", ".yaml", ".html", ".toml") and path.is_file():
                assert not private.search(path.read_text(encoding="utf-8")), path


def test_the_repository_stays_small() -> None:
    kept = [p for f in ("plugin", "ingest", "queries", "tests", "docker") for p in Path(ROOT / f).rglob("*")]
    assert sum(p.stat().st_size for p in kept if p.is_file() and "__pycache__" not in p.parts) < 40e6


def shell_commands() -> list[list[str]]:
    """The words of every crosslens command in the README's blocks, outside its reference."""
    text = README.read_text(encoding="utf-8").split("<!-- reference")[0]
    lines = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("crosslens ")]


@pytest.mark.parametrize("words", shell_commands(), ids=" ".join)
def test_the_readmes_commands_are_understood(words: list[str]) -> None:
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words[0])
        words = words[1:]
    assert command is not None
    assert command.make_context("crosslens", words).params


@pytest.mark.node
def test_the_readmes_python_runs_as_it_stands(
    server: Server, models: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    kinds = {"title": "text", "description": "text", "photo": "keyword", "brand": "keyword", "model": "keyword"}
    properties = {name: {"type": kind} for name, kind in kinds.items()} | {"in_stock": {"type": "boolean"}}
    shoe = {"title": "Blue running shoe", "description": "light", "photo": "1.png", "in_stock": True}
    documents: list[dict[str, object]] = [shoe, {"title": "Hat"}]
    index = server.new_index({"properties": properties}, documents)
    text = first
    for said, here in {
        "http://localhost:9200": server.node.url,
        "models/clip": str(models / "small"),
        "/srv/pictures": str(pictures),
        '"products"': f'"{index}"',
    }.items():
        assert said in text
        text = text.replace(said, here)
    exec(compile(text, "README.md", "exec"), {})
    assert "Blue running shoe {'keyword': 0.8" in capsys.readouterr().out
    for said, here in {
        "connect()": f"connect(Connection(url={server.node.url!r}))",
        "models/clip": str(models / "small"),
        '"products"': f'"{index}"',
    }.items():
        assert said in second
        second = second.replace(said, here)
    names: dict[str, Any] = {"Connection": Connection}
    exec(compile(second, "README.md", "exec"), names)
    assert [hit.source["title"] for hit in names["result"].hits] == ["Blue running shoe"]
