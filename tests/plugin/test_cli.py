"""The command line: what users type, what they read, and how it exits."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
import pytest

from crosslens import commands as commands_package
from crosslens.cli import cli
from tests.commands import run, start
from tests.conftest import Server

MAPPINGS: dict[str, Any] = {"properties": {"title": {"type": "text"}, "photo": {"type": "keyword"}}}


def commands(group: click.Group = cli, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*prefix, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*prefix, name))
    return found


@pytest.mark.parametrize(
    ("path", "command"), commands(), ids=lambda value: " ".join(value) if type(value) is tuple else ""
)
def test_every_command_and_option_has_help(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (path, parameter.name)


def test_every_listed_command_is_there_and_every_command_is_listed() -> None:
    context = click.Context(cli)
    listed = set(cli.list_commands(context))
    assert {getattr(cli.get_command(context, name), "name", None) for name in listed} == listed
    folder = Path(commands_package.__file__ or "").parent
    helpers = {"__init__", "looked_for", "options", "running", "saying", "sentences", "signals", "targets", "workers"}
    assert {path.stem for path in folder.glob("*.py")} - helpers <= listed | {"server_plugin"}


def test_starting_up_loads_no_heavy_library() -> None:
    script = "import sys, crosslens.cli; print([m for m in ('torch', 'onnxruntime', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "shop", "--model", "/nowhere"], "name the fields to encode"),
        (["add", "shop", "--text", "title"], "--model"),
        (["add", "shop", "--text", "{title", "--model", "/x"], "the template"),
        (["reindex", "shop", "--alias", "a"], "--alias goes with --into"),
        (["reindex", "shop", "--into", "new", "--slices", "2"], "copies the whole index"),
        (["reindex", "shop", "--slice", "3/2"], "must be I/N"),
        (["reindex", "shop", "--slice", "1/2", "--slices", "2"], "give one of them"),
        (["reindex", "shop", "--query", "[]"], "must be a JSON object"),
        (["reindex", "shop", "--text", "title"], "need --model"),
        (["reindex", "shop", "--allow-scheme", "file"], "not a scheme to allow"),
        (["label", "shop", "--field", "v", "--into", "tags"], "Missing option '--labels'"),
        (["label", "shop", "--field", "v", "--into", "t", "--labels", "l", "--false-alarms", "1"], "not in the range"),
        (["describe", "shop", "--field", "v"], "name your captions: --captions FILE, or --caption-index INDEX:FIELD"),
        (["describe", "shop", "--field", "v", "--captions", "c", "--query", "[]"], "must be a JSON object"),
        (["describe", "shop", "--field", "v", "--captions", "c", "--into", "a", "--query", "{}"], "is for suggestions"),
        (["migrate", "shop"], "give one of --model FOLDER, --rollback or --drop-old"),
        (["migrate", "shop", "--rollback", "--drop-old"], "give one of"),
        (["search", "shop", "x", "--filter", "{"], "not JSON"),
        (["search", "shop", "x", "--filter", "3"], "must be a JSON object"),
        (["search", "shop", "x", "--post-filter", "[3]"], "must be a JSON object"),
        (["search", "shop", "x", "--sort", "price:down"], "is not FIELD, FIELD:asc or FIELD:desc"),
        (["search", "shop", "x", "--sort", "price,"], "is not FIELD, FIELD:asc or FIELD:desc"),
        (["search", "shop", "x", "--sort", "[{"], "not JSON"),
        (["search", "shop", "x", "--weights", "keyword"], "is not NAME=NUMBER"),
        (["search", "shop", "x", "--url", "localhost:9200"], "must start with http"),
        (["search", "shop", "x", "--url", "http://127.0.0.1:9"], "no Elasticsearch answers at http://127.0.0.1:9"),
        (["search", "shop", "x", "--url", "http://127.0.0.1:9", "--user", "u"], "needs a password"),
        (["node", "start", "--heap", "lots"], "not a heap size"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_usage_and_no_connection_exit_with_2_and_one_sentence(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_secrets_are_never_printed() -> None:
    secrets = {"ELASTICSEARCH_API_KEY": "s3cr3t-key", "ELASTICSEARCH_URL": "http://me:s3cr3t-password@127.0.0.1:9"}
    done = run("search", "shop", "x", env=secrets)
    assert done.returncode == 2
    assert "s3cr3t" not in done.stdout + done.stderr
    assert "http://127.0.0.1:9" in done.stderr
    from crosslens.client import Connection

    assert "s3cr3t" not in repr(Connection(api_key="s3cr3t", user="u", password="s3cr3t"))


def test_the_command_that_tries_again_holds_no_secret() -> None:
    from crosslens.commands.running import retry_words

    given = [
        "reindex",
        "shop",
        "--stale",
        "--api-key",
        "s3cret",
        "--password=s3cret",
        "--url",
        "https://u:s3cret@es:9200",
    ]
    assert retry_words(given) == ["reindex", "shop", "--url", "https://es:9200", "--failed"]
    assert retry_words(["add", "shop", "--text", "a=b"]) == ["add", "shop", "--text", "a=b", "--retry-failed"]


@pytest.mark.node
def test_add_and_search_from_the_command_line(server: Server, models: Path, pictures: Path, tmp_path: Path) -> None:
    documents = [{"title": f"blue shoe {i}", "photo": f"{i}.png"} for i in range(10)]
    index = server.new_index(MAPPINGS, [*documents, {"title": "hat", "photo": "gone.png"}])
    where = {"ELASTICSEARCH_URL": server.node.url}
    fields = ["--text", "words=title", "--image", "photo"]
    failures = tmp_path / "failed.jsonl"
    what = ["add", index, *fields, "--model", str(models / "small"), "--image-root", str(pictures)]
    what += ["--failures", str(failures)]
    counted = run(*what, "--dry-run", env=where)
    assert (counted.returncode, "11 documents" in counted.stdout) == (0, True)
    assert not failures.exists()
    first = run(*what, env=where)
    assert first.returncode == 1
    assert f"failed: {index}/10: gone.png: no such file" in first.stdout
    assert "--retry-failed" in first.stdout
    listed = [json.loads(line) for line in failures.read_text().splitlines()]
    assert [(f["id"], f["field"]) for f in listed] == [("10", "photo_vector")]
    assert listed[0]["retry"].startswith(f"crosslens add {index} --text words=title")
    assert listed[0]["retry"].endswith("--retry-failed")
    second = run(*what, "--json", env=where)
    assert second.returncode == 0
    report = json.loads(second.stdout)
    assert (report["todo"], report["failed_earlier"]) == (0, {"photo_vector": 1})
    assert set(report["fields"]) == {"words", "photo_vector"}
    # The model isn't named: the first command remembered where it lies.
    page = tmp_path / "found.html"
    more = ["--html", str(page), "--image-root", str(pictures), "--size", "3"]
    found = run("search", index, "blue shoe 3", "--image", str(pictures / "3.png"), *more, env=where)
    assert found.returncode == 0, found.stderr
    assert "blue shoe 3" in found.stdout
    assert page.read_text().count("data:image/webp") == 4
    as_json = run("search", index, "shoe", "--weights", "keyword=2,words=0", "--json", "--url", server.node.url)
    hits = json.loads(as_json.stdout)["hits"]
    assert hits[0]["parts"]["words"]["weighted"] == 0
    assert hits[0]["score"] >= hits[-1]["score"]
    filtered = run("search", index, "shoe", "--filter", '{"term": {"photo": "4.png"}}', "--json", env=where)
    assert [hit["id"] for hit in json.loads(filtered.stdout)["hits"]] == ["4"]


@pytest.mark.node
def test_ctrl_c_says_how_to_go_on_and_the_next_run_does(server: Server, models: Path, pictures: Path) -> None:
    documents = [{"title": f"shoe {i}", "photo": f"{i % 60}.png"} for i in range(3_000)]
    index = server.new_index(MAPPINGS, documents)
    what = ["add", index, "--text", "title", "--image", "photo", "--model", str(models / "small")]
    what += ["--image-root", str(pictures), "--url", server.node.url]
    running = start(what)

    def done() -> int:
        server.client.indices.refresh(index=index)
        return int(server.client.count(index=index, query={"exists": {"field": "photo_vector"}})["count"])

    deadline = time.monotonic() + 60
    while done() < 100 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Run the same command again to go on" in output
    assert 100 <= done() < 3_000
    assert run(*what).returncode == 0
    assert done() == 3_000


@pytest.mark.node
def test_a_search_with_another_model_is_refused(server: Server, models: Path) -> None:
    index = server.new_index(MAPPINGS, [{"title": "shoe"}])
    where = {"ELASTICSEARCH_URL": server.node.url}
    run("add", index, "--text", "title", "--model", str(models / "small"), env=where)
    done = run("search", index, "shoe", "--model", str(models / "other"), env=where)
    assert done.returncode == 2
    assert "small-checkpoint" in done.stderr
    assert "other-checkpoint" in done.stderr


@pytest.mark.node
def test_a_missing_index_exits_with_2(server: Server, models: Path) -> None:
    model = str(models / "small")
    done = run("add", "absent", "--text", "title", "--model", model, "--url", server.node.url)
    assert (done.returncode, "no index" in done.stderr) == (2, True)


@pytest.mark.node
def test_node_status_tells_when_nothing_was_started(tmp_path: Path) -> None:
    done = run("node", "status", "--folder", str(tmp_path / "none"), "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"running": False})
    assert run("node", "logs", "--folder", str(tmp_path / "none")).returncode == 2
    assert "no node was running" in run("node", "stop", "--folder", str(tmp_path / "none")).stdout
    assert "(crosslens node start)" in run("node", "logs", "--folder", str(tmp_path / "none")).stderr


def test_removing_a_node_asks_first(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    (folder / "data").mkdir(parents=True)
    (folder / "data/segment").write_bytes(b"x" * 3_000_000)
    record = {"running": False, "url": "http://127.0.0.1:9", "version": "9.5.3", "pid": 1, "data": str(folder)}
    (folder / "node.json").write_text(json.dumps(record))
    # Nobody answers the question.
    asked = run("node", "remove", "--folder", str(folder))
    assert asked.returncode == 130
    assert "with all its indices (3.0 MB)?" in asked.stderr
    assert folder.exists()
    done = run("node", "remove", "--folder", str(folder), "--yes")
    assert done.returncode == 0
    assert "3.0 MB are free again" in done.stdout
    assert not folder.exists()
    assert "isn't a folder" in run("node", "remove", "--folder", str(folder), "--yes").stderr


@pytest.mark.export
def test_export_prints_the_proof(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra 'export' is not installed")
    from tests import checkpoints

    folder = checkpoints.clip(tmp_path / "c")
    done = run("export", str(folder), str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "cosine with PyTorch on golden texts: least 1.000000" in done.stdout
    again = run("export", str(folder), str(tmp_path / "out"))
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.node
def test_an_indexs_life_from_the_command_line(server: Server, models: Path, pictures: Path, tmp_path: Path) -> None:
    """Fill it, look at it, bring it up to date with two workers, change its model, copy it, and take vectors out."""
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}", "photo": f"{i}.png"} for i in range(40)])
    where = {"ELASTICSEARCH_URL": server.node.url}
    files = ["--image-root", str(pictures), "--failures", str(tmp_path / "failed.jsonl")]

    def ok(*arguments: str) -> str:
        done = run(*arguments, env=where)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    ok("add", index, "--text", "title", "--image", "photo", "--model", str(models / "small"), *files)
    assert "nothing to do" in ok("reindex", index, *files)
    for i in range(0, 40, 4):
        server.client.update(index=index, id=str(i), doc={"title": f"red boot {i}"})
    server.client.index(index=index, id="new", document={"title": "hat", "photo": "7.png"}, refresh=True)
    shown = json.loads(ok("status", index, "--json"))["fields"]["title_vector"]
    assert (shown["done"], shown["missing"], shown["stale"]) == (30, 1, 10)
    assert f"crosslens reindex {index} --missing --stale" in ok("status", index)
    assert "11 documents" in ok("reindex", index, "--missing", "--stale", "--dry-run", *files)
    done = json.loads(ok("reindex", index, "--missing", "--stale", "--slices", "2", "--json", *files))
    assert done["written"] == {"title_vector": 11, "photo_vector": 1}
    assert done["unchanged"] == {"photo_vector": 40}
    assert "title_vector" in ok("status", index, "--quick")

    assert "serves the new vectors now" in ok("migrate", index, "--model", str(models / "wide"), *files)
    assert "small-checkpoint are kept for --rollback" in ok("status", index)
    early = run("migrate", index, "--model", str(models / "other"), *files, env=where)
    assert early.returncode == 2
    assert early.stderr.endswith("drop the old ones first (crosslens migrate --drop-old)\n")
    assert "hat" in ok("search", index, "hat", "--size", "1")
    assert "serves the vectors of small-checkpoint" in ok("migrate", index, "--rollback")
    assert "41 documents hold it" in ok("migrate", index, "--drop-old", "--dry-run")

    copied = ok("reindex", index, "--into", f"{index}-2", "--alias", f"{index}-alias", *files)
    assert f"{index}-2 has 41 documents, {index} 41; 41 copied" in copied
    assert f"the alias {index}-alias leads to {index}-2 now" in copied
    assert "hat" in ok("search", f"{index}-alias", "hat", "--size", "1")
    assert "41 documents" in ok("remove", f"{index}-2", "photo_vector", "--dry-run")
    refused = run("remove", f"{index}-2", "photo_vector", env=where)
    assert refused.returncode == 130
    assert "was taken out of 41 documents" in ok("remove", f"{index}-2", "photo_vector", "--yes")
    assert "photo_vector" not in json.loads(ok("status", f"{index}-2", "--json"))["fields"]


@pytest.mark.node
def test_ctrl_c_stops_every_worker_and_the_next_run_goes_on(server: Server, models: Path, pictures: Path) -> None:
    documents = [{"title": f"shoe {i}", "photo": f"{i % 60}.png"} for i in range(4_000)]
    index = server.new_index(MAPPINGS, documents)
    what = ["reindex", index, "--text", "title", "--image", "photo", "--model", str(models / "small")]
    what += ["--image-root", str(pictures), "--url", server.node.url, "--slices", "2"]
    running = start(what)

    def done() -> int:
        server.client.indices.refresh(index=index)
        return int(server.client.count(index=index, query={"exists": {"field": "photo_vector"}})["count"])

    while done() < 200:
        assert running.poll() is None
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "Run the same command again to go on" in output
    assert "Traceback" not in errors
    assert 200 <= done() < 4_000
    assert run(*what).returncode == 0
    assert done() == 4_000


@pytest.mark.node
def test_why_a_worker_can_not_go_on_is_said_as_without_workers(server: Server, models: Path, tmp_path: Path) -> None:
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}"} for i in range(10)])
    where = {"ELASTICSEARCH_URL": server.node.url}
    run("add", index, "--text", "title", "--model", str(models / "small"), env=where)
    # Another machine, where the model of the vectors isn't known.
    elsewhere = {**where, "CROSSLENS_DATA": str(tmp_path)}
    alone = run("reindex", index, "--all", env=elsewhere)
    several = run("reindex", index, "--all", "--slices", "2", env=elsewhere)
    assert (alone.returncode, several.returncode) == (2, 2)
    (said,) = [line for line in alone.stderr.splitlines() if line.startswith("Error: ")]
    assert said.endswith("name the folder (--model)")
    assert [line for line in several.stderr.splitlines() if line.startswith("Error: ")] == [said]


@pytest.mark.node
def test_searches_are_measured_and_tuned_from_the_command_line(
    server: Server, models: Path, pictures: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ir_measures", reason="the extra 'evaluate' is not installed")
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}", "photo": f"{i}.png"} for i in range(40)])
    where = {"ELASTICSEARCH_URL": server.node.url}
    files = ["--image-root", str(pictures), "--failures", str(tmp_path / "failed.jsonl")]
    run("add", index, "--text", "title", "--image", "photo", "--model", str(models / "small"), *files, env=where)
    judged = tmp_path / "judged.jsonl"
    lines = [{"text": f"shoe {i}", "relevant": [str(i)]} for i in range(30)]
    judged.write_text("\n".join(map(json.dumps, lines)))
    plot = tmp_path / "measures.png"
    scores, weights = tmp_path / "scores.png", tmp_path / "weights.svg"
    done = run("evaluate", index, str(judged), "--plot", str(plot), "--plot-scores", str(scores), env=where)
    assert done.returncode == 0, done.stderr
    assert "fused against keyword alone" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert scores.read_bytes().startswith(b"\x89PNG")
    tried = run("tune", index, str(judged), "--dry-run", "--plot", str(weights), env=where)
    assert "<svg" in weights.read_text()
    assert (tried.returncode, "nothing was recorded" in tried.stdout) == (0, True)
    chosen = json.loads(run("tune", index, str(judged), "--json", env=where).stdout)
    assert sum(chosen["weights"].values()) == pytest.approx(1)
    again = json.loads(run("evaluate", index, str(judged), "--json", env=where).stdout)
    assert again["queries"] == 30
    measured = run("calibrate", index, env=where)
    assert "title_vector: measured 40 vectors" in measured.stdout
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps(lines[0]))
    assert run("tune", index, str(few), env=where).returncode == 2
    assert "doesn't exist" in run("evaluate", index, str(tmp_path / "none"), env=where).stderr


@pytest.mark.node
def test_facets_highlights_boosts_and_pages_from_the_command_line(server: Server, models: Path) -> None:
    fields: dict[str, Any] = {"title": {"type": "text"}, "note": {"type": "text"}, "brand": {"type": "keyword"}}
    documents = [{"title": f"shoe {i}", "note": "blue", "brand": f"brand {i % 3}"} for i in range(9)]
    cut = {"title": "blue", "note": "shoe \ud83d x", "brand": "b"}
    index = server.new_index({"properties": fields}, documents)
    # As clients send it that escape what isn't ASCII.
    plain = {"content-type": "application/json", "accept": "application/json"}
    server.client.perform_request("PUT", f"/{index}/_doc/9?refresh", headers=plain, body=json.dumps(cut))
    where = {"ELASTICSEARCH_URL": server.node.url}
    run("add", index, "--text", "title", "--model", str(models / "small"), env=where)
    shown = run("search", index, "shoe", "--facet", "brand", "--highlight", "--size", "10", env=where)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"brand 0 +3", shown.stdout)
    assert "title: shoe" in shown.stdout
    assert "note: shoe \ufffd x" in shown.stdout
    ascii_only = run("search", index, "shoe", "--size", "10", env={**where, "PYTHONIOENCODING": "ascii"})
    assert (ascii_only.returncode, ascii_only.stdout.isascii()) == (0, True), ascii_only.stderr
    whole = run("search", index, "shoe", "--size", "10", "--json", env={**where, "PYTHONIOENCODING": "ascii"})
    assert "shoe \ufffd x" in {hit["source"]["note"] for hit in json.loads(whole.stdout)["hits"]}
    refused = run("search", index, "shoe", "--facet", "title", env=where)
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)

    boosted = run("search", index, "blue", "--text-fields", "title^9,note", "--json", env=where)
    assert json.loads(boosted.stdout)["hits"][0]["id"] == "9"
    counted = ["search", index, "shoe", "--facet", "brand", "--facets-over", "keyword", "--json"]
    only = '{"term": {"brand": "brand 1"}}'

    def counts(*more: str) -> tuple[list[str], int]:
        """The brands of the results, and how many brands are counted."""
        found = json.loads(run(*counted, *more, env=where).stdout)
        brands = [hit["source"]["brand"] for hit in found["hits"]]
        return brands, len(found["aggregations"]["brand"]["buckets"])

    assert counts("--filter", only) == (["brand 1"] * 3, 1)
    assert counts("--post-filter", only) == (["brand 1"] * 3, 4)
    rising = ["b", *(f"brand {i // 3}" for i in range(9))]
    assert counts("--sort", "brand")[0] == rising
    assert counts("--sort", "brand:desc,_doc")[0] == rising[::-1]
    assert counts("--sort", '[{"brand": {"order": "desc"}}]')[0] == rising[::-1]
    refused = run("search", index, "shoe", "--sort", "title", env=where)
    assert (refused.returncode, refused.stderr.startswith("Error: "), "Traceback" in refused.stderr) == (2, True, False)
    query = ["search", index, "shoe", "--size", "4", "--json"]
    first = json.loads(run(*query, "--page", env=where).stdout)
    for i in range(10):
        server.client.delete(index=index, id=str(i), refresh=True)
    second = json.loads(run(*query, "--next", first["next"], env=where).stdout)
    third = json.loads(run(*query, "--next", second["next"], env=where).stdout)
    assert len({hit["id"] for page in (first, second, third) for hit in page["hits"]}) == 10
    other = run("search", index, "boot", "--next", first["next"], env=where)
    assert (other.returncode, "belongs to another search" in other.stderr.replace("\n", " ")) == (2, True)


@pytest.mark.node
def test_a_search_takes_an_image_by_its_url(server: Server, models: Path, pictures: Path) -> None:
    index = server.new_index(MAPPINGS, [{"title": f"shoe {i}", "photo": f"{i}.png"} for i in range(20)])
    where = {"ELASTICSEARCH_URL": server.node.url}
    run("add", index, "--image", "photo", "--model", str(models / "small"), "--image-root", str(pictures), env=where)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(pictures))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{site.server_port}/7.png"
        refused = run("search", index, "--image", url, "--json", env=where)
        found = run("search", index, "--image", url, "--allow-private-urls", "--json", env=where)
        site.shutdown()
    assert json.loads(found.stdout)["hits"][0]["id"] == "7"
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)


@pytest.mark.node
def test_what_was_tuned_is_forgotten_without_judgements(server: Server, models: Path) -> None:
    from crosslens.ingest.contract.fields import record_search_settings

    index = server.new_index(MAPPINGS, [{"title": "shoe"}])
    where = {"ELASTICSEARCH_URL": server.node.url}
    run("add", index, "--text", "title", "--model", str(models / "small"), env=where)
    record_search_settings(server.client, index, {"weights": {"keyword": 1.0}, "normalizer": "rank"})
    tried = run("tune", index, "--forget", "--dry-run", env=where)
    assert "has a recorded choice; nothing was forgotten" in tried.stdout
    assert json.loads(run("tune", index, "--forget", "--json", env=where).stdout)["forgotten"] is True
    assert "nothing is recorded" in run("tune", index, "--forget", env=where).stdout
    assert "Missing argument" in run("tune", index, env=where).stderr


@pytest.mark.node
def test_a_list_of_failures_that_can_not_be_written_is_a_warning(server: Server, models: Path) -> None:
    index = server.new_index(MAPPINGS, [{"photo": "gone.png"}, {"photo": "gone-2.png"}])
    what = ["add", index, "--image", "photo", "--model", str(models / "small"), "--url", server.node.url]
    done = run(*what, "--failures", "/dev/full")
    assert done.returncode == 1
    assert done.stderr.count("failures can't be listed in /dev/full: No space left on device; the run goes on") == 1
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"set -o pipefail; {shlex.quote(sys.executable)} -m crosslens.cli --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode in (0, 141), done.stderr) == (True, "")


def test_files_that_can_not_be_read_are_one_sentence(tmp_path: Path) -> None:
    binary = tmp_path / "judged.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    for arguments, says in (
        (["evaluate", "shop", str(binary)], "is not UTF-8 text"),
        (["evaluate", "shop", str(binary), "--clicks"], "is neither"),
        (["evaluate", "shop", str(tmp_path)], "is a directory"),
        (["calibrate", "shop", "--null-queries", str(binary)], "is not UTF-8 text"),
        (["search", "shop", "x", "--filter", "[" * 100_000], "not JSON"),
        (["tune", "shop", str(binary), "--forget"], "takes no JUDGED"),
    ):
        done = run(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert says in done.stderr
