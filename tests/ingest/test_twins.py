"""Which encoder may search which vectors: its own model's, and those of a twin that its record allows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from crosslens.errors import ModelError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import find, remember


def field(fingerprint: str) -> VectorField:
    return VectorField("title_vector", "text", ("title",), "small", fingerprint, 24, "hnsw")


@pytest.fixture(autouse=True)
def unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine remembers no models."""
    monkeypatch.setenv("CROSSLENS_DATA", str(tmp_path / "data"))


@pytest.fixture
def related(models: Path, tmp_path: Path) -> Path:
    """A copy of the model ``other`` whose record allows it to search the vectors of ``small``."""
    folder = Path(shutil.copytree(models / "other", tmp_path / "related"))
    manifest = json.loads((folder / "crosslens.json").read_text())
    manifest["relations"] = {Encoder(models / "small").fingerprint: {"search": True, "recall": 0.99}}
    (folder / "crosslens.json").write_text(json.dumps(manifest))
    return folder


def test_a_twin_may_search_and_never_write(models: Path, related: Path) -> None:
    small, twin = Encoder(models / "small"), Encoder(related)
    theirs = field(small.fingerprint)
    encoders = Encoders([twin])
    encoders.check([theirs], "products", searching=True)
    assert encoders.for_field(theirs, searching=True) is twin
    with pytest.raises(ModelError, match="are of small"):
        encoders.check([theirs], "products")
    with pytest.raises(ModelError, match="no folder with that model is known"):
        encoders.for_field(theirs)


def test_no_other_model_may_search(models: Path) -> None:
    theirs = field(Encoder(models / "small").fingerprint)
    with pytest.raises(ModelError, match="are of small"):
        Encoders([Encoder(models / "other")]).check([theirs], "products", searching=True)


def test_a_known_twin_serves_searches_where_the_model_itself_is_gone(models: Path, related: Path) -> None:
    wanted = Encoder(models / "small").fingerprint
    remember(related, Encoder(related).fingerprint)
    assert find(wanted, "small", searching=True) == (related.resolve(), None)
    with pytest.raises(ModelError, match="no folder with that model is known"):
        find(wanted, "small")
    remember(models / "small", wanted)
    assert find(wanted, "small", searching=True) == ((models / "small").resolve(), None)
