"""The file that says what `crosslens sync` follows."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosslens.errors import SettingsError
from crosslens.ingest.run.sync.settings import (
    IndexSettings,
    Known,
    SyncSettings,
    as_toml,
    parse_settings,
    read_settings,
)

_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


def test_what_is_left_out_has_its_default() -> None:
    settings = parse_settings({"index": [{"name": "products"}]}, "file")
    assert settings == SyncSettings(index=(IndexSettings("products"),))
    assert settings.address == ("127.0.0.1", 9464)


def test_everything_can_be_set() -> None:
    entry = {"name": "logs-*", "fields": ["a"], "image_root": "/srv", "allow_schemes": ["s3"], "retry_first_s": 5}
    values = {"look_s": 1, "listen": "[::1]:80", "models": ["m"], "threads": 2, "index": [entry, {"name": "b"}]}
    settings = parse_settings(values, "file")
    assert settings.address == ("::1", 80)
    assert (settings.look_s, settings.models, settings.threads) == (1.0, ("m",), 2)
    first, second = settings.index
    assert (first.fields, first.retry_first_s, first.images.root, first.images.schemes) == (
        ("a",),
        5.0,
        "/srv",
        ("s3",),
    )
    assert second.fields is None
    assert parse_settings({"index": [{"name": "b"}], "listen": ""}, "file").address is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "names no index"),
        ({"index": []}, "names no index"),
        ({"index": {"name": "a"}}, "names no index"),
        ({"index": ["a"]}, "index 1 isn't a table"),
        ({"index": [{}]}, "index 1 lacks 'name'"),
        ({"index": [{"name": ""}]}, "can't be the name of an index"),
        ({"index": [{"name": "a,b"}]}, "name each by itself"),
        ({"index": [{"name": "_all"}]}, "can't be the name of an index"),
        ({"index": [{"name": "a/_search"}]}, "can't be the name of an index"),
        ({"index": [{"name": "a"}, {"name": "a"}]}, "'a' twice"),
        ({"index": [{"name": "a", "field": ["x"]}]}, "did you mean fields"),
        ({"index": [{"name": "a", "fields": "x"}]}, "must be a list of texts"),
        ({"index": [{"name": "a", "fields": [1]}]}, "must be a list of texts"),
        ({"index": [{"name": "a", "pictures_per_minute": -1}]}, "must be 0 or more"),
        ({"index": [{"name": "a", "pictures_per_minute": float("nan")}]}, "must be 0 or more"),
        ({"index": [{"name": "a", "pictures_per_minute": float("inf")}]}, "must be 0 or more"),
        ({"index": [{"name": "a", "pictures_per_minute": True}]}, "must be a number"),
        ({"index": [{"name": "a", "retry_first_s": 100, "retry_most_s": 10}]}, "from 1 to retry_most_s"),
        ({"index": [{"name": "a"}], "look_s": 0}, "look_s must be from"),
        ({"index": [{"name": "a"}], "threads": 1.5}, "must be a whole number"),
        ({"index": [{"name": "a"}], "in_cluster": 1}, "must be true or false"),
        ({"index": [{"name": "a"}], "device": "abacus"}, "device must be one of"),
        ({"index": [{"name": "a"}], "listen": "9464"}, "must be an address and a port"),
        ({"index": [{"name": "a"}], "listen": "example.org:80"}, "must be an address and a port"),
        ({"index": [{"name": "a"}], "listen": "127.0.0.1:70000"}, "must be an address and a port"),
        ({"index": [{"name": "a"}], "api_key": "x"}, "ELASTICSEARCH_API_KEY in the environment"),
        ({"index": [{"name": "a", "password": "x"}]}, "ELASTICSEARCH_API_KEY in the environment"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_place(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(values, "file.toml")
    assert said in str(refused.value)
    assert str(refused.value).startswith("file.toml")


@pytest.mark.parametrize("data", [b"[[index]", b"\xff\xfe", b"x = " + b"[" * 100_000, b"#" * (2 << 20)])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sync.toml"
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"sync\.toml"):
        read_settings(path)


def test_a_file_that_is_not_there_is_said_to_be_written_by_init(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(tmp_path / "absent.toml")
    assert refused.value.parameter == "init"


@given(st.lists(_TEXTS, max_size=3), st.lists(_TEXTS, max_size=3), st.lists(_TEXTS, max_size=2), st.booleans())
def test_what_init_writes_says_what_was_recorded(
    fields: list[str], models: list[str], roots: list[str], pictures: bool
) -> None:
    known = Known("products", fields, roots, pictures, models, ["a model\nlook_s = 5 (0123)"])
    settings = parse_settings(tomllib.loads(as_toml([known])), "file")
    (index,) = settings.index
    assert index.fields == tuple(fields)
    assert settings.models == tuple(dict.fromkeys(models))
    assert index.image_root == (roots[0] if pictures and len(roots) == 1 else None)
    assert settings.look_s == 2.0
