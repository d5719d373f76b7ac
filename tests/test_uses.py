"""The recipes in docs/uses: every command and all Python on them runs, on an index like the one they speak of."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crosslens.cli import cli
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import remember
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import PHOTO
from tests.test_docs import DOCS, blocks

pytestmark = pytest.mark.node
USES = DOCS / "uses"
KINDS = {
    "title": "text",
    "caption": "text",
    "alt_text": "text",
    "description": "text",
    "photo": "keyword",
    "footage": "keyword",
    "clip": "keyword",
}
COUNT = 60
# Chance shows from 30 moments on, of which these have two each.
FILES = 15


@dataclass(frozen=True)
class Recipe:
    """A recipe's page, what its indices and files are called here, and a client of the server."""

    page: Path
    here: dict[str, str]
    server: Server

    def run(self) -> None:
        """Writes the files that the page shows, and runs its commands and its Python, in the working folder."""
        text = self.page.read_text(encoding="utf-8")
        for name, content in re.findall(r"^`(\S+)`:\n\n```text\n(.*?)```", text, re.MULTILINE | re.DOTALL):
            Path(name).write_text(content, encoding="utf-8")
        lines = "\n".join(blocks(self.page, "")).replace("\\\n", " ").splitlines()
        for line in filter(None, lines):
            assert line.startswith("crosslens "), line
            cli.main([self._meant(word) for word in shlex.split(line)[1:]], standalone_mode=False)
        code = "\n".join(blocks(self.page, "python"))
        for said, meant in self.here.items():
            code = code.replace(f'"{said}"', f'"{meant}"')
        exec(compile(code, self.page.name, "exec"), {})

    def _meant(self, word: str) -> str:
        name, colon, field = word.partition(":")
        return self.here.get(word, f"{self.here.get(name, name)}{colon}{field}")

    def documents(self, index: str) -> dict[str, dict[str, Any]]:
        """Every document of an index of the recipe, by id."""
        self.server.client.indices.refresh(index=self.here[index])
        hits = self.server.client.search(index=self.here[index], size=COUNT)["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}


@pytest.fixture
def recipe(
    server: Server,
    encoder: Encoder,
    models: Path,
    pictures: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Recipe]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELASTICSEARCH_URL", server.node.url)
    remember(models / "small", encoder.fingerprint)
    shutil.copy(pictures / "1.png", tmp_path / "shoe.jpg")
    documents: list[dict[str, Any]] = [
        {"title": f"blue running shoe {i}", "photo": f"{i}.png", **({"alt_text": "by hand"} if i % 2 else {})}
        for i in range(COUNT)
    ]
    mappings: dict[str, Any] = {"properties": {name: {"type": kind} for name, kind in KINDS.items()}}

    def made(page: str) -> Recipe:
        names = ("products", "uploads", "photos", "archive", "films", "clips")
        text = (USES / f"{page}.md").read_text(encoding="utf-8")
        used = [name for name in names if re.search(rf"\b{name}\b", text)]
        media = {"films": [{"footage": "scenes.mp4"}], "clips": [{"clip": "heard.wav"}]}
        here = {name: server.new_index(mappings, media[name] * FILES if name in media else documents) for name in used}
        for name in {"uploads", "photos"} & here.keys():
            add_vectors(server.client, here[name], encoder, [PHOTO], Options(images=ImageAccess(root=pictures)))
        places = {
            "http://localhost:9200": server.node.url,
            "models/clip": str(models / "small"),
            "/srv/pictures": str(pictures),
        }
        if here.keys() & media.keys():
            films = request.getfixturevalue("films")
            places |= {"/srv/films": str(films), "/srv/clips": str(films)}
            for name in ("scenes.mp4", "heard.wav"):
                shutil.copy(films / name, tmp_path)
        return Recipe(USES / f"{page}.md", {**here, **places}, server)

    return made


def test_a_shop_gets_tags_for_its_facets(recipe: Callable[[str], Recipe], capsys: pytest.CaptureFixture[str]) -> None:
    shop = recipe("shop")
    shop.run()
    documents = shop.documents("products").values()
    assert {tag for each in documents for tag in each.get("tags", [])} <= {"shoe", "bag", "coat", "outerwear"}
    assert all(each["crosslens"]["tags"]["labels"] for each in documents)
    shown = capsys.readouterr().out
    assert "documents would be given" in shown
    assert "tags: labels by photo_vector, 60 documents" in shown


def test_moderation_says_true_or_false_of_every_upload(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    moderation = recipe("moderation")
    moderation.run()
    assert {each["held"] for each in moderation.documents("uploads").values()} <= {True, False}
    assert (tmp_path / "review.html").read_text(encoding="utf-8").count("data:image/webp") == COUNT


def test_alternative_text_is_suggested_and_taken_out_again(recipe: Callable[[str], Recipe]) -> None:
    captions = recipe("alternative-text")
    captions.server.client.index(
        index=captions.here["archive"], id="c", document={"caption": "A lighthouse"}, refresh=True
    )
    captions.run()
    alternative = {id: each.get("alt_text") for id, each in captions.documents("photos").items()}
    assert alternative == {str(i): "by hand" if i % 2 else None for i in range(COUNT)}


def test_a_draft_finds_pictures_of_its_section(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    newsroom = recipe("newsroom")
    newsroom.run()
    assert {tag for each in newsroom.documents("archive").values() for tag in each.get("section", [])} <= {
        *("traffic", "politics", "sport"),
    }
    assert (tmp_path / "found.html").exists()


def test_footage_is_moderated_by_what_is_seen_and_said(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    moderation = recipe("footage")
    moderation.run()
    films = moderation.documents("films").values()
    assert {type(each[name]) for each in films for name in ("seen", "said")} == {bool}
    assert (tmp_path / "held.html").exists()


def test_a_draft_finds_moments_of_footage(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    recipe("archive-footage").run()
    assert "#t=" in (tmp_path / "found.html").read_text(encoding="utf-8")


def test_sounds_are_described_by_captions_that_are_there(recipe: Callable[[str], Recipe], clap: Encoder) -> None:
    sounds = recipe("sounds")
    sounds.here["models/clap"] = str(clap.folder.path)
    sounds.run()
    assert not any(each.get("description") for each in sounds.documents("clips").values())
