"""Runs over documents whose references and pictures are odd."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.report import Failure, FailureLog
from crosslens.ingest.run.write import Options, add_vectors
from crosslens.ingest.sources.access import ImageAccess
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, shop
from tests.ingest.test_metadata import noisy

pytestmark = pytest.mark.node


def test_half_a_character_in_a_reference_fails_its_document_and_not_the_run(
    server: Server, encoder: Encoder, pictures: Path, tmp_path: Path
) -> None:
    index = server.new_index(MAPPINGS, shop(3))
    body = b'{"title": "hat", "photo": "\\ud83d.png"}'
    headers = {"content-type": "application/json", "accept": "application/json"}
    server.client.perform_request("PUT", f"/{index}/_doc/half", params={"refresh": "true"}, headers=headers, body=body)
    failures: list[Failure] = []

    def note(failure: Failure) -> None:
        failures.append(failure)
        log.write(failure)

    with FailureLog(tmp_path / "failures.jsonl", ["again"]) as log:
        report = add_vectors(
            server.client,
            index,
            encoder,
            [TITLE, PHOTO],
            Options(images=ImageAccess(root=pictures)),
            failed=note,
        )
    assert report.written == {"title_vector": 4, "photo_vector": 3}
    assert [failure.id for failure in failures] == ["half"]
    assert "no such file" in failures[0].reason or "not a usable path" in failures[0].reason
    assert "half" in (tmp_path / "failures.jsonl").read_text(encoding="utf-8")


def test_a_failure_names_its_reference_and_a_cut_off_jpeg_is_counted(
    server: Server, encoder: Encoder, tmp_path: Path
) -> None:
    photo = noisy()
    (tmp_path / "page.jpg").write_bytes(b"<html><title>Sign in</title>")
    (tmp_path / "cut.jpg").write_bytes(photo[: -len(photo) // 50])
    inline = base64.b64encode(photo).decode()
    documents: list[dict[str, object]] = [{"title": "a", "photo": each} for each in ("page.jpg", "cut.jpg", inline)]
    keyword: dict[str, object] = {
        "properties": {"title": {"type": "text"}, "photo": {"type": "keyword", "ignore_above": 256}}
    }
    index = server.new_index(keyword, documents)
    report = add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(root=tmp_path)))
    reasons = {failure.id: failure.reason for failure in report.failures}
    assert sorted(reasons) == ["0", "1"]
    assert reasons["0"].startswith("page.jpg: not an image in a supported format but an HTML page titled 'Sign in'")
    assert reasons["1"].startswith("cut.jpg: can't be decoded: the JPEG is cut off")
    tolerant = ImageAccess(root=tmp_path, tolerate_truncated=True)
    report = add_vectors(
        server.client, index, encoder, [TITLE, PHOTO], Options(Selection(failed=True), images=tolerant)
    )
    assert (report.written, report.truncated) == ({"photo_vector": 1}, {"photo_vector": 1})
    vector = server.source(index, "2")["photo_vector"]
    assert np.allclose(np.asarray(vector), encoder.encode_images([photo])[0], atol=1e-5)


def test_a_binary_field_holds_images(server: Server, encoder: Encoder, pictures: Path, tmp_path: Path) -> None:
    data = [(pictures / f"{n}.png").read_bytes() for n in range(3)]
    documents: list[dict[str, object]] = [{"title": "a", "photo": base64.b64encode(each).decode()} for each in data]
    index = server.new_index({"properties": {"title": {"type": "text"}, "photo": {"type": "binary"}}}, documents)
    report = add_vectors(server.client, index, encoder, [PHOTO], Options(images=ImageAccess(root=tmp_path)))
    assert (report.written, report.failures) == ({"photo_vector": 3}, [])
    for n, vector in enumerate(encoder.encode_images(data)):
        assert np.allclose(np.asarray(server.source(index, str(n))["photo_vector"]), vector, atol=1e-5)
