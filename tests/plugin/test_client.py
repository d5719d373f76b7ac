"""Connecting: versions, wrong addresses, and settings that contradict each other."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import shutil
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elastic_transport import ConnectionError as TransportConnectionError
from elasticsearch import Elasticsearch

from crosslens import AsyncIndex, Index, TextField
from crosslens import client as client_module
from crosslens.addresses import parse_hosts
from crosslens.async_client import connect_async
from crosslens.client import Connection, client_options, connect, parse_version, server_version
from crosslens.commands.sentences import sentence
from crosslens.errors import ConnectionFailedError, CrosslensError, ModelError
from crosslens.ingest.model.known import DEMO_MODEL, find, remember
from tests.conftest import Server
from tests.web import ELASTIC, Answer, Forwarding, Web


@pytest.mark.parametrize(
    ("text", "version"), [("9.5.3", (9, 5, 3)), ("8.19.21-SNAPSHOT", (8, 19, 21)), ("10.0.0", (10, 0, 0))]
)
def test_versions_compare_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        (Connection(url="localhost:9200"), "must start with http"),
        (Connection(url="http://127.0.0.1:9"), "no Elasticsearch answers at http://127.0.0.1:9"),
        (Connection(url="http://127.0.0.1:9", api_key="k", user="u"), "either an API key or a user"),
        (Connection(url="http://127.0.0.1:9", user="u"), "user u needs a password"),
        (Connection(url="https://127.0.0.1:9", ca_certs=Path("/no/ca.pem")), "/no/ca.pem doesn't exist"),
    ],
)
def test_what_cannot_connect_says_why(connection: Connection, says: str) -> None:
    with pytest.raises(ConnectionFailedError, match=says):
        connect(connection)


SECRET = "SEC%2FRET"


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("https://u:%s@a,https://u:%s@b:9201/es/", ["https://a:443", "https://b:9201/es"]),
        (" http://a:9200 , http://b ,", ["http://a:9200", "http://b:80"]),
        ('["https://u:%s@a:9200","https://b:9200"]', ["https://a:9200", "https://b:9200"]),
        ("HTTPS://[::1]:9200", ["https://[::1]:9200"]),
        ("https://u:a,b%s@h:9200", ["https://h:9200"]),
        ("http://münchen.example:9200", ["http://xn--mnchen-3ya.example:9200"]),
    ],
)
def test_addresses_are_read_as_kibana_and_people_write_them(address: str, hosts: list[str]) -> None:
    address = address.replace("%s", SECRET)
    read = parse_hosts(address)
    assert list(map(str, read)) == hosts
    assert "SEC" not in repr(read) + str(read) + repr(Connection(url=address, api_key="SEC", password="SEC"))
    client = Elasticsearch(**client_options(Connection(url=address)))
    nodes = client.transport.node_pool.all()
    assert {str(node.base_url) for node in nodes} == {host.removesuffix("/") for host in hosts}
    user = next((host for host in read if host.user), None)
    if user is not None:
        assert user.password in ("SEC/RET", "a,bSEC/RET")
        assert "SEC" not in repr(client) + repr(nodes)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "the address is empty"),
        ("  ", "the address is empty"),
        ("localhost:9200", "'localhost:9200' is not an address; it must start with http:// or https://"),
        ("u:SECRET@localhost:9200", "'localhost:9200' is not an address"),
        ("u:SECRET", "what was given is not an address"),
        ("ftp://u:SECRET@h", "is not an address"),
        ("https://u:SECRET", "the port of 'u' is not a number"),
        ("https://u:SECRET@h:99999", "the port of 'h' is not a number from 1 to 65535"),
        ("https://u:SECRET@h:²", "the port of 'h' is not a number"),
        ("https://u:SECRET@my host:9200", "has a space in it"),
        ("https://u:SECRET@a:9200 https://u:SECRET@b", "has a space in it"),
        ("https://u:SEC@RET@", "names no host"),
        ("https://", "names no host"),
        ("https://h:9200/?api_key=SECRET", "the address of 'h:9200/' has a query"),
        ("https://u:SECRET@::1:9200", "write IPv6 as in"),
        ("https://u:SECRET@[::1:9200", "write IPv6 as in"),
        ("https://u:SECRET@[::zz]:9200", "is not an IPv6 address"),
        ("https://u:SECRET@a..b:9200", "can't be a host's name"),
        ("https://u:SECRET@\N{GRINNING FACE}<>:9200", "can't be a host's name"),
        ("https://SECRET@h:9200", "a user without a password"),
        ('["https://u:SECRET@a:9200"', "not valid JSON"),
        ("[]", "not valid JSON"),
        ('["https://a:9200", 5]', "not valid JSON"),
        ("https://u:SECRET@a:9200,b:9200", "'b:9200' is not an address"),
        ("https://u:SECRET@a,https://v:SECRET@b", "name different users"),
    ],
)
def test_a_bad_address_is_one_sentence_without_secrets(address: str, says: str) -> None:
    connection = Connection(url=address)
    with pytest.raises(ConnectionFailedError, match=says) as caught:
        connect(connection)
    everything = "".join(traceback.format_exception(caught.value)) + repr(connection)
    # The lines of this test's own code aside.
    assert not re.search("SEC|RET", everything), everything


@pytest.mark.parametrize(
    "connection",
    [
        Connection(url="http://127.0.0.1:9", api_key="SECRET\n"),
        Connection(url="http://127.0.0.1:9", api_key="SECRÈT"),
        Connection(url="http://u:SECRET@127.0.0.1:9", api_key="SECRET"),
        Connection(url="http://u:SECRET@127.0.0.1:9", user="u", password="SECRET"),
        Connection(url="http://u:SEC%52ET@127.0.0.1:9"),
        Connection(cloud_id="not one", api_key="SECRET"),
        Connection(cloud_id="name:bm90aGluZw==", api_key="SECRET"),
        Connection(cloud_id="näme:ü", api_key="SECRET"),
        Connection(url="http://127.0.0.1:9", cloud_id="a:b", api_key="SECRET"),
    ],
)
def test_no_error_repeats_a_secret(connection: Connection) -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        connect(connection)
    assert not re.search("SEC", "".join(traceback.format_exception(caught.value)) + repr(connection))


@pytest.mark.parametrize("options", [["--url", "https://u:SECRET@a b"], ["--cloud-id", "what?"], ["--url", ""]])
def test_the_command_line_answers_a_bad_address_with_one_line(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crosslens.cli", "status", "shop", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "SECRET" not in done.stderr


NO_MONITOR = json.dumps(
    {
        "error": {
            "root_cause": [
                {
                    "type": "security_exception",
                    "reason": "action [cluster:monitor/main] is unauthorized for user [bob] with effective roles [r], "
                    "this action is granted by the cluster privileges [monitor,manage,all]",
                }
            ],
            "type": "security_exception",
        },
        "status": 403,
    }
).encode()


class Unprivileged(Forwarding):
    """In front of a real node: everything passes but ``GET /``, as for a user without ``monitor``."""

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        return (403, ELASTIC, NO_MONITOR) if path == "/" else super().answer(method, path, headers, body)


HTML = {"Content-Type": "text/html"}
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"


@pytest.mark.parametrize(
    ("web", "says"),
    [
        (Web(403, NO_MONITOR, ELASTIC), r"refuses \(403: .*cluster:monitor/main.*user \[bob\].*privilege monitor"),
        (
            Web(401, b'{"error":{"reason":"unable to authenticate user [u]"}}', ELASTIC),
            r"refused the user.*\(401: unable",
        ),
        (Web(502, PAGE, HTML), "answered 502: 502 Bad Gateway nginx; try again"),
        (Web(503, b"", HTML), "answered 503: no reason given"),
        (Web(503, b"upstream is down", {"Content-Type": "text/plain"}), "answered 503: upstream is down"),
        (Web(503, b"\xff\xfe", {"Content-Type": "application/octet-stream"}), "is not Elasticsearch|answered 503"),
        (Web(200, b"{}", {"Content-Type": "application/json"}), "is not Elasticsearch"),
        (Web(200, b"{}", ELASTIC), "is not Elasticsearch: it names no version"),
        (Web(200, b"[]", ELASTIC), "is not Elasticsearch: it names no version"),
        (Web(200, b'{"version":"9.5.3"}', ELASTIC), "is not Elasticsearch: it names no version"),
        (Web(200, b'{"version":{"build_flavor":"default"}}', ELASTIC), "is not Elasticsearch: it names no version"),
        (Web(200, b"<p>hello</p>", HTML), "is not Elasticsearch"),
        (Web(200, b"{broken", ELASTIC), "is not Elasticsearch"),
        (Web(302, b"", {"Location": "https://u:SECRET@other:9/x"}), r"redirects to https://other:9/x \(302\)"),
        (Web(200, b'{"version":{"number":"7.17.0"}}', ELASTIC), "runs Elasticsearch 7.17.0; crosslens needs 8.15"),
        (Web(400, b'{"error":{"reason":"bad"}}', ELASTIC), "answered 400: bad"),
    ],
)
def test_an_answer_that_is_no_welcome_is_told_as_it_is(web: Web, says: str) -> None:
    with web, pytest.raises(ConnectionFailedError, match=says) as caught:
        connect(Connection(url=web.url, user="u", password="SECRET"))
    assert web.url in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_name_that_does_not_resolve_is_called_so() -> None:
    with pytest.raises(ConnectionFailedError, match=r"answers at http://nowhere\.invalid:9200 \(the name"):
        connect(Connection(url="http://nowhere.invalid:9200"))


def test_a_server_that_never_answers_took_too_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ConnectionFailedError, match="it took too long"):
            connect(Connection(url=url, timeout_s=0.3))


def test_without_an_address_the_way_is_to_start_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:
        # Taken, and nobody listens.
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr(client_module, "DEFAULT_URL", f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(ConnectionFailedError, match="start the embedded node") as caught:
            connect(Connection())
    assert sentence(caught.value).endswith("(crosslens node start)")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[ssl.SSLContext, Path]]:
    """Makes a self-signed certificate with openssl's command: for a name, and from and to a day."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl's command makes the certificates, and isn't installed")
    folder = tmp_path_factory.mktemp("certificates")

    def make(names: str = "IP:127.0.0.1", days: tuple[str, str] | None = None) -> tuple[ssl.SSLContext, Path]:
        name = str(len(list(folder.iterdir())))
        key, request, file = (folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        settings = folder / f"{name}.cnf"
        settings.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/{name}.db\nnew_certs_dir={folder}\nserial={folder}/{name}.srl\n"
            f"default_md=sha256\npolicy=any\nx509_extensions=ext\nprivate_key={key}\n[any]\ncommonName=supplied\n"
            f"[ext]\nsubjectAltName={names}\nbasicConstraints=CA:true\n[req]\ndistinguished_name=dn\n[dn]\n"
        )
        (folder / f"{name}.db").touch()
        (folder / f"{name}.srl").write_text("01\n")
        first, last = days or ("20200101000000Z", "20491231000000Z")
        new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=test"]
        sign = [
            "ca",
            "-selfsign",
            "-batch",
            "-notext",
            "-startdate",
            first,
            "-enddate",
            last,
            "-in",
            request,
            "-out",
            file,
        ]
        for command in (new, sign):
            subprocess.run(["openssl", *command, "-config", settings], capture_output=True, check=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file, key)
        return context, file

    return make


WELCOME = Web(200, b'{"version":{"number":"9.5.3"}}', ELASTIC)


def test_each_fault_of_a_certificate_has_its_name(certificates: Callable[..., tuple[ssl.SSLContext, Path]]) -> None:
    good, its_file = certificates()
    with replace(WELCOME, tls=good) as web:
        assert server_version(connect(Connection(url=web.url, ca_certs=its_file))) == (9, 5, 3)
        with pytest.raises(ConnectionFailedError, match="isn't trusted, it is self-signed") as caught:
            connect(Connection(url=web.url))
        assert caught.value.parameter == "ca_certs"
        _, of_another = certificates()
        with pytest.raises(ConnectionFailedError, match="isn't trusted"):
            connect(Connection(url=web.url, ca_certs=of_another))
        with pytest.raises(ConnectionFailedError, match="speaks https, not http; write the address with https://"):
            connect(Connection(url=web.url.replace("https", "http")))
    elsewhere, its_file = certificates("DNS:elsewhere.example")
    with (
        replace(WELCOME, tls=elsewhere) as web,
        pytest.raises(ConnectionFailedError, match=r"another host's .*elsewhere\.example"),
    ):
        connect(Connection(url=web.url, ca_certs=its_file))
    for days, says in (
        (("20200101000000Z", "20210101000000Z"), "has expired"),
        (("20480101000000Z", "20490101000000Z"), "is not valid yet"),
    ):
        context, its_file = certificates(days=days)
        with replace(WELCOME, tls=context) as web, pytest.raises(ConnectionFailedError, match=says):
            connect(Connection(url=web.url, ca_certs=its_file))
    with replace(WELCOME) as web, pytest.raises(ConnectionFailedError, match="speaks http, not https"):
        connect(Connection(url=web.url.replace("http", "https")))


def test_a_certificate_file_that_is_none_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    files = {"empty": b"", "der": b"\x30\x82\x01\x00", "text": b"hello", "broken": b"-----BEGIN CERTIFICATE-----\nx\n"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    says = {"empty": "is empty", "der": "in PEM", "text": "in PEM", "broken": "in PEM"}
    for name, words in says.items():
        with pytest.raises(ConnectionFailedError, match=words):
            connect(Connection(url="https://127.0.0.1:9", ca_certs=tmp_path / name))
    with pytest.raises(ConnectionFailedError, match="is a folder"):
        connect(Connection(url="https://127.0.0.1:9", ca_certs=tmp_path))
    with pytest.raises(ConnectionFailedError, match="is for https"):
        connect(Connection(url="http://127.0.0.1:9", ca_certs=tmp_path / "text"))
    if Path("/proc/self/mem").exists():
        # Unreadable for root as well.
        with pytest.raises(ConnectionFailedError, match="can't be read"):
            connect(Connection(url="https://127.0.0.1:9", ca_certs=Path("/proc/self/mem")))


def test_a_certificate_file_of_the_environment_is_for_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_CA_CERT", "/ca.pem")
    assert Connection.from_environment("http://127.0.0.1:9").ca_certs is None
    assert Connection.from_environment("https://127.0.0.1:9").ca_certs == Path("/ca.pem")
    monkeypatch.setenv("ES_API_KEY", "key")
    assert Connection.from_environment("https://u:p@127.0.0.1:9").api_key is None


def test_of_several_hosts_one_that_is_down_is_passed_over() -> None:
    with replace(WELCOME) as web:
        connection = Connection(url=f"http://127.0.0.1:9,{web.url},http://nowhere.invalid:9")
        for _ in range(5):
            client = connect(connection)
            assert len(client.transport.node_pool) == 3
            assert {server_version(client) for _ in range(6)} == {(9, 5, 3)}

        async def asynchronously() -> None:
            for _ in range(5):
                async with await connect_async(connection) as client:
                    assert {str((await client.info())["version"]["number"]) for _ in range(6)} == {"9.5.3"}

        asyncio.run(asynchronously())


class Deaf(Web):
    """Reads requests and closes the connection without an answer."""

    seen = 0

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.seen += 1
        raise ConnectionAbortedError


def test_a_request_that_may_have_arrived_is_never_sent_to_another_host() -> None:
    with Deaf() as one, Deaf() as two:
        one.server.handle_error = two.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        client = Elasticsearch(**client_options(Connection(url=f"{one.url},{two.url}")))
        with pytest.raises(TransportConnectionError):
            client.index(index="a", document={})
        assert one.seen + two.seen == 1


@pytest.mark.node
def test_who_may_not_ask_for_the_version_can_add_and_search(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    name = server.new_index({"properties": {"title": {"type": "text"}}}, [{"title": "a red shoe"}, {"title": "a hat"}])
    with Unprivileged(node_url=server.node.url) as web:
        with Index(name, url=web.url, model=DEMO_MODEL) as index:
            assert "doesn't say its version to this user" in caplog.text
            assert server_version(index.client)[:2] == (9, 2)
            assert index.add(TextField("title")).written == {"title_vector": 2}
            assert index.search("shoe").hits[0].source == {"title": "a red shoe"}
            assert index.status().fields

        async def asynchronously() -> str:
            async with AsyncIndex(name, url=web.url, model=DEMO_MODEL) as index:
                return str((await index.search("shoe")).hits[0].source["title"])

        assert asyncio.run(asynchronously()) == "a red shoe"


def _send(queue: Any, errors: list[CrosslensError]) -> None:
    for error in errors:
        queue.put(error)


def test_errors_cross_processes_whole() -> None:
    kinds = [CrosslensError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    errors = [kind("wrong", hint="do this", verb="node start", parameter="url") for kind in kinds]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_send, args=(queue, errors))
    process.start()
    for sent in errors:
        got = queue.get(timeout=60)
        assert type(got) is type(sent)
        assert vars(got) == vars(sent)
        assert str(got) == "wrong; do this"
        assert sentence(got) == "wrong; do this (crosslens node start --url)"
    process.join()


@pytest.mark.node
def test_one_client_speaks_to_both_versions(server: Server) -> None:
    assert server_version(server.client) == parse_version(server.version)
    assert server.client.cluster.health()["status"] in ("green", "yellow")


def test_a_model_used_once_is_found_by_its_fingerprint(models: Path) -> None:
    from crosslens.ingest.model.folder import open_model

    folder = open_model(models / "small")
    with pytest.raises(ModelError, match=r"no folder with that model is known .*; name the folder") as unknown:
        find(folder.fingerprint + "0", "small")
    assert unknown.value.parameter == "model"
    remember(models / "small", folder.fingerprint)
    assert find(folder.fingerprint, "small") == ((models / "small").resolve(), None)


def test_the_demos_model_is_always_known() -> None:
    from crosslens.ingest.model.folder import open_model

    assert find(open_model(DEMO_MODEL).fingerprint, "demo") == (DEMO_MODEL, None)
