"""Long work that no terminal shows is mentioned in the log, now and then."""

from __future__ import annotations

import io
import logging
import time

import pytest
from rich.console import Console

from crosslens import progress


def test_work_that_lasts_is_logged_now_and_then_also_where_it_stands_still(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    caplog.set_level(logging.INFO, logger="crosslens")
    with progress.counting_bar(Console(file=io.StringIO()), "reading shop") as advance:
        advance(50, 200)
        deadline = time.monotonic() + 30
        while len(caplog.records) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) >= 3
    assert all(line.startswith("reading shop: 50 of 200 done, ") and line.endswith(" left") for line in lines)
    assert caplog.records[0].__dict__["fields"]["total"] == 200
    ended = len(caplog.records)
    time.sleep(0.2)
    assert len(caplog.records) == ended


def test_a_step_that_is_waited_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="crosslens")
    with progress.waiting(Console(file=io.StringIO()), "exporting") as step:
        step("comparing with PyTorch")
    assert [record.getMessage() for record in caplog.records] == ["exporting", "comparing with PyTorch"]
