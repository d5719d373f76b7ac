"""An export that is calibrated by what an index's documents hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra 'export' is not installed")

from crosslens.errors import MappingError
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.sampling import sample_index
from crosslens.ingest.run.write import add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests import checkpoints
from tests.commands import run
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop

pytestmark = [pytest.mark.node, pytest.mark.export]


def test_a_calibration_has_the_texts_and_pictures_of_an_index(
    server: Server, encoder: Encoder, pictures: Path, tmp_path: Path
) -> None:
    documents = [*shop(), {"title": "a hat", "photo": "gone.png"}]
    index = server.new_index(MAPPINGS, documents)
    add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=pictures)))
    # The index remembers where its pictures were read from.
    found = sample_index(server.client, index)
    assert sorted(found.texts) == sorted({str(each["title"]) for each in documents})
    assert len(found.images) == 60
    assert found.unreadable == 1
    checkpoint, out = checkpoints.clip(tmp_path / "checkpoint"), tmp_path / "model"
    done = run("export", str(checkpoint), str(out), "--calibrate", index, "--url", server.node.url, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["calibration"].startswith(f"index {index}")
    assert Encoder(out).dims == 24


def test_an_index_without_vectors_says_nothing_to_calibrate_by(server: Server) -> None:
    index = server.new_index(MAPPINGS, [{"title": "a hat"}])
    with pytest.raises(MappingError, match="has no vectors yet"):
        sample_index(server.client, index)
