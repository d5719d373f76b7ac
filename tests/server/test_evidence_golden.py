"""Both sides fuse by evidence as the golden file says; the plugin's own tests hold Java to it."""

from __future__ import annotations

import json

import pytest

from tests.server.evidence_golden import GOLDEN, Case, cases, told

RECORDED = json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_golden_file_has_every_case() -> None:
    assert {each["case"]: each["legs"] for each in RECORDED} == cases()


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: each["case"])
def test_evidence_gives_what_is_recorded(recorded: Case) -> None:
    found = told(recorded["legs"])
    assert found["totals"] == pytest.approx(recorded["totals"], rel=1e-9, abs=1e-12)
    assert found["parts"].keys() == recorded["parts"].keys()
    for name, parts in recorded["parts"].items():
        assert found["parts"][name].keys() == parts.keys()
        for key, part in parts.items():
            for now, then in zip(found["parts"][name][key], part, strict=True):
                assert now == (None if then is None else pytest.approx(then, rel=1e-9, abs=1e-12))
