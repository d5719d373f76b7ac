"""A cluster with security, as a reverse proxy plays it: every command signs in, and no secret comes to light.

The embedded node has no security: x-pack isn't on Maven Central.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from crosslens import AsyncIndex, ImageField, Index, MappingError, TextField
from crosslens.ingest.model.known import DEMO_MODEL
from tests.commands import run
from tests.conftest import Server
from tests.web import Secured, Serverless

pytestmark = pytest.mark.node
MAPPINGS: dict[str, Any] = {"properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}}}
PASSWORD, KEY, TOKEN = "p/s3cret:@1", "a2V5LXMzY3JldA==", "AAEAAWVs-s3cret"
BASIC = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
READER = "Basic " + base64.b64encode(f"bob:{PASSWORD}".encode()).decode()
# Each part of each secret, as typed, as sent, and as an address holds it.
SECRETS = re.compile("|".join(("s3cret", re.escape(KEY), BASIC[6:], READER[6:])))


@dataclass
class Cluster(Secured):
    """The cluster, and the ways to sign in that take turns."""

    turn: int = 0
    said: list[str] = field(default_factory=list)

    def signed_in(self) -> tuple[list[str], dict[str, str]]:
        """Arguments and variables by which a command signs in."""
        self.turn += 1
        inside = self.url.replace("://", "://ann:p%2Fs3cret%3A%401@")
        ways: list[tuple[list[str], dict[str, str]]] = [
            ([], {"ELASTICSEARCH_URL": self.url, "ELASTICSEARCH_API_KEY": KEY}),
            (["--url", inside], {}),
            (["--url", self.url, "--user", "ann", f"--password={PASSWORD}"], {}),
            (["--url", self.url, "--api-key", KEY], {}),
            ([], {"ES_URL": self.url, "ELASTIC_USERNAME": "ann", "ES_PASSWORD": PASSWORD}),
            ([], {"ELASTICSEARCH_HOSTS": json.dumps([inside])}),
        ]
        return ways[self.turn % len(ways)]

    def call(self, *arguments: str, status: int = 0) -> str:
        """Run a command that signs in; what it prints, on both streams, holds no secret."""
        more, variables = self.signed_in()
        done = run(*arguments, *more, env=variables)
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr


@pytest.fixture
def cluster(server: Server) -> Iterator[Cluster]:
    known = frozenset((BASIC, READER, f"ApiKey {KEY}", f"Bearer {TOKEN}"))
    with Cluster(node_url=server.node.url, known=known, readers=frozenset((READER,))) as web:
        yield web
        assert not any(map(SECRETS.search, web.said)), web.said


def lines(judged: Path, count: int = 20) -> str:
    judged.write_text("".join(f'{{"text": "shoe {i}", "relevant": ["{i}"]}}\n' for i in range(count)))
    return str(judged)


def test_every_command_signs_in_and_leaves_no_secret_anywhere(
    server: Server, cluster: Cluster, models: Path, pictures: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ir_measures", reason="the extra 'evaluate' is not installed")
    documents: list[dict[str, Any]] = [{"title": f"shoe {i}", "photo": f"{i}.png"} for i in range(20)]
    index = server.new_index(MAPPINGS, [*documents, {"title": "hat", "photo": "gone.png"}])
    failures = tmp_path / "failures.jsonl"
    files = ["--image-root", str(pictures), "--failures", str(failures)]
    model, wide = ["--model", str(models / "small")], ["--model", str(models / "wide")]
    judged = lines(tmp_path / "judged.jsonl")

    cluster.call("add", index, "--text", "title", *model, *files)
    for _ in range(6):
        # By each of the ways to sign in.
        assert json.loads(cluster.call("status", index, "--json"))["fields"]["title_vector"]["done"] == 21
    cluster.call(
        *("--log-format", "json", "reindex", index, "--image", "photo", *model, *files, "--slices", "2", "--json"),
        status=1,
    )
    assert [json.loads(line)["id"] for line in failures.read_text().splitlines()] == ["20"]
    cluster.call("reindex", index, "--into", f"{index}-2", "--alias", f"{index}-a", *files)
    assert json.loads(cluster.call("search", f"{index}-a", "shoe 3", "--json"))["hits"]
    cluster.call("calibrate", index)
    cluster.call("evaluate", index, judged)
    cluster.call("tune", index, judged, "--dry-run", "--json")
    cluster.call("recall", index, "--queries", "3", "--type", "flat")
    cluster.call("migrate", index, *wide, *files, "--despite-failures", status=1)
    cluster.call("migrate", index, "--rollback")
    cluster.call("migrate", index, "--drop-old")
    cluster.call("remove", index, "photo_vector", "--yes")
    assert "none" in cluster.call("plugin", "list")
    cluster.call("plugin", "pipeline", index, "--dry-run")
    assert "no crosslens plugin" in cluster.call("plugin", "pipeline", index, status=2)
    assert {kind for _, _, kind in cluster.seen} <= cluster.known

    kept = [failures.read_text()]
    kept += [path.read_text() for path in Path(os.environ["CROSSLENS_DATA"]).rglob("*.json")]
    everything = server.client.search(index="*,.*", size=1000, expand_wildcards="all", source_excludes=["*vector*"])
    # A server without any pipeline answers with 404.
    pipelines = server.client.options(ignore_status=404).ingest.get_pipeline()
    kept += [json.dumps(everything.body), json.dumps(pipelines.body)]
    kept += [json.dumps(server.client.indices.get(index="*", expand_wildcards="all").body)]
    assert index in kept[-1]
    assert not any(map(SECRETS.search, kept))


COMMANDS: list[Sequence[str]] = [
    ("add", "INDEX", "--text", "title", "--model", "MODEL"),
    ("reindex", "INDEX"),
    ("reindex", "INDEX", "--slices", "2"),
    ("reindex", "INDEX", "--into", "INDEX-2"),
    ("status", "INDEX"),
    ("search", "INDEX", "shoe"),
    ("calibrate", "INDEX"),
    ("evaluate", "INDEX", "JUDGED"),
    ("tune", "INDEX", "JUDGED"),
    ("recall", "INDEX"),
    ("migrate", "INDEX", "--rollback"),
    ("remove", "INDEX", "title_vector", "--yes"),
    ("plugin", "list"),
    ("plugin", "pipeline", "INDEX"),
    ("demo",),
]


def test_who_is_not_known_reads_one_sentence(tmp_path: Path) -> None:
    """From every command, since each signs in before it does anything."""
    words = {"INDEX": "absent", "MODEL": str(DEMO_MODEL), "JUDGED": lines(tmp_path / "judged.jsonl", 3)}
    with Cluster() as cluster:
        for command in COMMANDS:
            said = cluster.call(*(words.get(word, word) for word in command), status=2).splitlines()
            assert "(401: unable to authenticate" in said[-1]
            assert re.search(r"refused the (API key|user or the password)", said[-1]), said
        assert not any(map(SECRETS.search, cluster.said))


def test_a_key_that_is_revoked_in_the_middle_ends_the_run(server: Server, cluster: Cluster) -> None:
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}"} for i in range(3_000)])
    what = ["reindex", index, "--text", "title", "--model", str(DEMO_MODEL)]
    for more in ([], ["--slices", "2"]):
        cluster.open_for = len(cluster.seen) + 30
        said = cluster.call(*what, *more, status=2).splitlines()
        assert len([line for line in said if "Elasticsearch refused the request" in line]) == 1
        assert "401" in said[-1]
    cluster.open_for = None
    cluster.call(*what)


def test_who_may_only_read_is_told_what_is_missing(server: Server, cluster: Cluster, models: Path) -> None:
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}"} for i in range(5)])
    cluster.call("add", index, "--text", "title", "--model", str(models / "small"))
    where = ["--url", cluster.url, "--user", "bob", "--password", PASSWORD]
    found = run("search", index, "shoe", *where)
    assert found.returncode == 0, found.stderr
    for command in (["remove", index, "title_vector", "--yes"], ["reindex", index, "--all"]):
        done = run(*command, *where)
        cluster.said.append(done.stdout + done.stderr)
        assert (done.returncode in (1, 2), "Traceback" in done.stderr) == (True, False)
        assert "is unauthorized for user [reader]" in done.stdout + done.stderr


def test_clients_sign_in_for_all_that_they_are_used_for(
    server: Server, cluster: Cluster, models: Path, pictures: Path
) -> None:
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}", "photo": f"{i}.png"} for i in range(5)])
    how: dict[str, Any] = {"model": models / "small", "image_root": pictures}
    with Index(index, url=cluster.url, user="ann", password=PASSWORD, **how) as opened:
        opened.add(TextField("title"), ImageField("photo"))
        cluster.said.append(repr(vars(opened)))
    with Index(index, url=cluster.url, api_key=KEY, **how) as opened:
        assert opened.copy(f"{index}-2").count_after == 5
        by_key = opened.search("shoe 3").hits

    async def search(**sign_in: Any) -> list[str]:
        async with AsyncIndex(index, **sign_in, **how) as opened:
            cluster.said.append(repr(vars(opened)))
            return [hit.id for hit in (await opened.search("shoe 3")).hits]

    inside = cluster.url.replace("://", "://ann:p%2Fs3cret%3A%401@")
    ways: list[dict[str, Any]] = [{"url": cluster.url, "api_key": KEY}, {"url": inside}]
    for way in ways:
        assert asyncio.run(search(**way)) == [hit.id for hit in by_key]
    if server.version.startswith("9"):
        # A client of the caller's own brings its own way to sign in.
        with Elasticsearch(cluster.url, bearer_auth=TOKEN) as client:
            assert Index(index, client=client, **how).reindex(every=True).written["title_vector"] == 5

        async def by_token() -> list[str]:
            async with AsyncElasticsearch(cluster.url, bearer_auth=TOKEN) as client:
                return [hit.id for hit in (await AsyncIndex(index, client=client, **how).search("shoe 3")).hits]

        assert asyncio.run(by_token()) == [hit.id for hit in by_key]
    with Index(index, url=cluster.url, user="bob", password=PASSWORD, **how) as opened:
        with pytest.raises(MappingError, match="unauthorized for user") as refused:
            opened.remove("title_vector")
        cluster.said.append(repr(refused.value))
    assert {kind for _, _, kind in cluster.seen} <= cluster.known


def test_a_serverless_cluster_passes_for_a_new_one(server: Server, models: Path, pictures: Path) -> None:
    if server.version.startswith("8"):
        pytest.skip("serverless clusters are as new as the newest release")
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}", "photo": f"{i}.png"} for i in range(5)])
    server.client.indices.delete(index="crosslens-moments", ignore_unavailable=True, expand_wildcards="all")
    with (
        Serverless(node_url=server.node.url) as web,
        Index(index, url=web.url, model=models / "small", image_root=pictures) as opened,
    ):
        assert opened.add(TextField("title"), ImageField("photo")).written == {"title_vector": 5, "photo_vector": 5}
        assert opened.search("shoe 3", normalizer="standardise").hits
        assert web.refused == ["/crosslens-moments"]
