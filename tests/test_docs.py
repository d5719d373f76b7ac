"""The documentation says what the code does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

import crosslens
from crosslens import Options, Target, errors
from crosslens.cli import cli
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.remove import remove_field
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.evaluate.judgements import Judged
from tests.conftest import Server
from tests.reference import PAGE, with_reference

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [
    *(README, ROOT / "CONTRIBUTING.md"),
    *(page for kind in ("*.md", "uses/*.md", "reference/*.md") for page in sorted(DOCS.glob(kind))),
]
FOLDERS = ("plugin", "ingest", "queries", "tests", "docker", "docs")
_JSON = {"accept": "application/json", "content-type": "application/json"}


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page that say they are of ``language`` (empty: those that say nothing)."""
    text = page.read_text(encoding="utf-8")
    return [code for kind, code in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S) if kind == language]


def test_the_reference_is_the_commands_own_help() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_reference(text) == text, "run: make docs"


def test_the_readme_can_be_read_at_one_sitting() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


def test_every_make_target_named_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, page


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
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in crosslens.__all__:
        assert getattr(crosslens, name).__doc__, name
    listed = re.findall(r"^::: crosslens\.(\w+)$", (DOCS / "reference" / "python.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(crosslens.__all__)


def test_the_site_builds_strictly_and_asks_no_address_outside(tmp_path: Path) -> None:
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module, reason="the extra 'docs' is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--config-file", str(DOCS / "site" / "mkdocs.yml"), "--site-dir", str(tmp_path)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = re.compile(r"""(?:\bsrc=|<link [^>]*href=|url\(|@import )["']?(?:https?:)?//""")
    for file in tmp_path.rglob("*"):
        if file.suffix in (".html", ".css"):
            assert not loaded.search(file.read_text(encoding="utf-8")), file


def test_the_privileges_of_every_command_that_connects_are_listed() -> None:
    table = (DOCS / "production.md").read_text(encoding="utf-8").partition("must be allowed to do")[2]
    listed = set(re.findall(r"`([a-z]+(?: [a-z]+)?)", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    connecting = set()
    for name, command in cli_commands():
        if any("--url" in parameter.opts for parameter in command.params):
            connecting.add(name)
    assert {"add", "plugin pipeline"} <= connecting
    assert connecting <= listed


def cli_commands() -> list[tuple[str, click.Command]]:
    """Every command, groups' own by both words."""
    context = click.Context(cli)
    found: list[tuple[str, click.Command]] = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        inner = command.commands.items() if isinstance(command, click.Group) else ()
        found += [(name, command), *((f"{name} {each}", one) for each, one in inner)]
    return found


def test_every_error_has_an_exit_code_and_a_reason_to_exist() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.CrosslensError):
            assert error.exit_code == 2
            assert error.__doc__


def test_nothing_of_this_machine_is_in_the_repository() -> None:
    # Text files only; the pattern is split so that this file doesn't hold it.
    private = re.compile("/(?:" + "work|tmp/w|root" + ")/[a-z]")
    kinds = (".py", ".md", ".java", ".json", ".jsonl", ".yaml", ".yml", ".html", ".toml")
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in kinds and path.is_file():
                assert not private.search(path.read_text(encoding="utf-8")), path


def test_the_repository_stays_small() -> None:
    kept = [p for folder in FOLDERS for p in Path(ROOT / folder).rglob("*")]
    assert sum(p.stat().st_size for p in kept if p.is_file() and "__pycache__" not in p.parts) < 40e6


def shell_commands() -> list[list[str]]:
    """The words of every crosslens command in the documentation's blocks, outside the reference."""
    pages = [page for page in PAGES if page != PAGE]
    lines = "\n".join(block for page in pages for block in blocks(page, "")).replace("\\\n", " ").splitlines()
    commands = {" ".join(line.split()): line for line in lines if line.startswith("crosslens ")}
    return [shlex.split(line, comments=True)[1:] for line in commands.values()]


@pytest.mark.parametrize("words", shell_commands(), ids=" ".join)
def test_the_commands_shown_are_understood(words: list[str]) -> None:
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words[0])
        words = words[1:]
    assert command is not None
    # Click keeps a command's help option as it is first asked for.
    assert command.make_context("crosslens", words, help_option_names=["-h", "--help"]).params


KINDS = {"title": "text", "description": "text", "photo": "keyword", "brand": "keyword", "model": "keyword"}
MAPPINGS: dict[str, object] = {
    "properties": {name: {"type": kind} for name, kind in KINDS.items()} | {"in_stock": {"type": "boolean"}}
}
THINGS = ("hat", "scarf", "coat", "belt", "sock", "glove", "bag")
TITLES = ["Blue running shoe", *(f"{colour} {thing}" for colour in ("Red", "Green", "Black") for thing in THINGS)]


def shop(server: Server) -> str:
    """The index that the documentation speaks of, with a document for each title."""
    documents: list[dict[str, object]] = [
        {"title": title, "description": "light", "photo": f"{i}.png", "in_stock": True, "model": title}
        for i, title in enumerate(TITLES)
    ]
    return server.new_index(MAPPINGS, documents)


def newsroom(server: Server) -> str:
    """The index of long texts that the documentation speaks of."""
    sentences = [f"Sentence {i} is of something else." for i in range(40)]
    sentences[20] = "The council pays for the new bridge."
    return server.new_index({"properties": {"body": {"type": "text"}}}, [{"body": " ".join(sentences)}])


@pytest.mark.node
@pytest.mark.parametrize("names", [("README.md",), ("docs/index.md", "docs/searching.md")], ids=" ".join)
def test_the_python_shown_runs_as_it_stands(
    names: tuple[str, ...], server: Server, models: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {
        "http://localhost:9200": server.node.url,
        "models/clip": str(models / "small"),
        "models/siglip2": str(models / "other"),
        "/srv/pictures": str(pictures),
        '"products"': f'"{shop(server)}"',
        "models/minilm": str(models / "small"),
        '"articles"': f'"{newsroom(server)}"',
    }
    judged = [Judged(str(i), title, None, {str(i): 1.0}) for i, title in enumerate(TITLES)]
    scope: dict[str, Any] = {"judged": judged}
    for name in names:
        code = "\n".join(blocks(ROOT / name, "python"))
        for said, meant in here.items():
            code = code.replace(said, meant)
        exec(compile(code, name, "exec"), scope)
    if "result" in scope:
        assert scope["result"].hits[0].source["title"] == "Blue running shoe"
        assert asyncio.run(scope["find"]("blue running shoes")).hits[0].source["title"] == "Blue running shoe"
    else:
        assert "Blue running shoe [" in capsys.readouterr().out.splitlines()[0]


def requests(page: Path) -> list[tuple[str, str, Any]]:
    """Method, path and body of the requests that a page shows as Kibana's console takes them."""
    text = "\n".join(blocks(page, ""))
    shown = re.split(r"^(?=(?:PUT|POST|DELETE) )", text, flags=re.MULTILINE)
    parts = [re.fullmatch(r"(PUT|POST|DELETE) (\S+)\n(.*)", each, re.DOTALL) for each in shown]
    bodies = [(part[1], part[2], part[3].split("\n\n")[0].strip()) for part in parts if part]
    return [(method, path, json.loads(body) if body else None) for method, path, body in bodies]


@pytest.mark.parametrize(("name", "count"), [("server-plugin.md", 3), ("cleaning-up.md", 4)])
def test_the_requests_shown_can_be_read(name: str, count: int) -> None:
    assert len(requests(DOCS / name)) == count


@pytest.mark.node
def test_cleaning_up_as_shown_leaves_the_documents_as_they_were(
    server: Server, encoder: Encoder, pictures: Path
) -> None:
    index = shop(server)
    before = {str(i): server.source(index, str(i)) for i in range(len(TITLES))}
    targets = [Target("title_vector", "text", ("title",)), Target("photo_vector", "image", ("photo",))]
    add_vectors(server.client, index, encoder, targets, Options(images=ImageAccess(root=pictures)))
    for target in targets:
        remove_field(server.client, index, target.field)
    for method, path, body in requests(DOCS / "cleaning-up.md"):
        server.client.perform_request(method, "/" + path.replace("products", index), headers=_JSON, body=body)
    assert {id: server.source(index, id) for id in before} == before
    assert not server.client.indices.get_mapping(index=index)[index]["mappings"].get("_meta")
    server.client.indices.refresh(index="crosslens-moments")
    assert server.client.count(index="crosslens-moments", query={"term": {"index": index}})["count"] == 0
