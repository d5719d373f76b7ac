"""Images behind URLs: what is fetched, and what must never be reached."""

from __future__ import annotations

import gzip
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crosslens.errors import ImageError
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.write import add_vectors, reindex
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.cache import ImageCache
from crosslens.ingest.sources.fetching import Fetcher, is_public
from tests.conftest import Server
from tests.ingest.exactness import MAPPINGS, PHOTO, TITLE, all_documents

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A real web server on loopback, whose paths answer as a test says."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with lock:
                    site.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                    site.at_once += 1
                    site.most_at_once = max(site.most_at_once, site.at_once)
                try:
                    site.answers.get(self.path.split("?")[0], say(404))(self)
                finally:
                    with lock:
                        site.at_once -= 1

            def log_message(self, *_: Any) -> None:
                """Keeps the test's output quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def say(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def test_an_image_is_fetched_and_says_who_asks(site: Site) -> None:
    site.answers["/a.png"] = say(200, b"picture")
    assert Fetcher(allow_private=True).fetch(f"{site.url}/a.png") == b"picture"
    headers = site.asked[0][1]
    assert headers["user-agent"].startswith("crosslens/")
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{site.port}"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[fec0::1]",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_no_address_of_ones_own_network_is_reached(site: Site, host: str) -> None:
    says = r"not a public address, and others are not read unless allowed$|can't be resolved"
    with pytest.raises(ImageError, match=says) as refused:
        Fetcher().fetch(f"http://{host}:{site.port}/a.png")
    assert refused.value.parameter == ("allow_private_urls" if "unless allowed" in str(refused.value) else None)
    assert site.asked == []


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@contextmanager
def names(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> Iterator[None]:
    """Makes host names resolve, one answer after the other, as a name server under an attacker's hand would."""
    really = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host in answers:
            address = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
            return really(address, port, *rest, **more)
        return really(host, port, *rest, **more)

    with monkeypatch.context() as context:
        context.setattr(socket, "getaddrinfo", resolve)
        yield


def test_a_name_that_resolves_otherwise_the_second_time_leads_nowhere(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> Any:
        connected.append(address)
        raise OSError("not in a test")

    # The address that was checked is the one connected to; the name isn't resolved again in between.
    with names(monkeypatch, {"rebind.example": ["8.8.8.8", "127.0.0.1"]}):
        monkeypatch.setattr(socket, "create_connection", connect)
        with pytest.raises(ImageError, match="can't be reached"):
            Fetcher().fetch(f"http://rebind.example:{site.port}/a.png")
    assert connected == [("8.8.8.8", site.port)]


def test_one_private_address_among_public_ones_is_enough_to_refuse(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, site.port)) for a in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ImageError, match=r"mixed\.example is 127\.0\.0\.1, which is not a public address"):
        Fetcher().fetch(f"http://mixed.example:{site.port}/a.png")


def test_a_redirect_is_checked_like_the_first_address(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.answers["/public"] = say(302, location=f"http://inside.example:{site.port}/secret")
    site.answers["/secret"] = say(200, b"secret")
    from crosslens.ingest.sources import fetching

    # The first name passes for public, so that the redirect is what is refused.
    checked: list[str] = []

    def public(address: str) -> bool:
        checked.append(address)
        return len(checked) == 1

    monkeypatch.setattr(fetching, "is_public", public)
    with (
        names(monkeypatch, {"inside.example": ["127.0.0.1"]}),
        pytest.raises(ImageError, match=r"inside\.example is 127\.0\.0\.1"),
    ):
        Fetcher().fetch(f"{site.url}/public")
    assert [path for path, _ in site.asked] == ["/public"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file:///etc/hostname", "isn't an http"),
        ("ftp://127.0.0.1/x", "isn't an http"),
        ("/loop", "more than 5 redirects"),
    ],
)
def test_redirects_elsewhere_or_for_ever_are_not_followed(site: Site, target: str, says: str) -> None:
    site.answers["/loop"] = say(302, location=target)
    with pytest.raises(ImageError, match=says):
        Fetcher(allow_private=True).fetch(f"{site.url}/loop")


def test_redirects_on_the_web_are_followed(site: Site) -> None:
    site.answers["/old"] = say(301, location="new")
    site.answers["/new"] = say(200, b"picture")
    assert Fetcher(allow_private=True).fetch(f"{site.url}/old") == b"picture"


def test_too_many_bytes_are_refused_whatever_the_server_announces(site: Site) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            handler.close_connection = True

    site.answers["/endless"] = endless
    site.answers["/large"] = say(200, b"x" * (2 << 20))
    fetcher = Fetcher(allow_private=True, max_bytes=1 << 20)
    for path in ("/endless", "/large"):
        with pytest.raises(ImageError, match="more than the 1,048,576 bytes allowed"):
            fetcher.fetch(site.url + path)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_trickles_is_cut_off(site: Site, part: str) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        try:
            if part == "body":
                handler.send_response(200)
                handler.send_header("content-length", "1000000")
                handler.end_headers()
            else:
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for n in range(100):
                handler.wfile.write(b"x" if part == "body" else b"x-%d: y\r\n" % n)
                handler.wfile.flush()
                time.sleep(0.1)
        except OSError:
            handler.close_connection = True

    site.answers["/slow"] = trickle
    started = time.monotonic()
    with pytest.raises(ImageError, match="took more than 1 s"):
        Fetcher(allow_private=True, max_seconds=1).fetch(f"{site.url}/slow")
    assert time.monotonic() - started < 5


def test_compressed_answers_that_nobody_asked_for_are_refused(site: Site) -> None:
    site.answers["/bomb"] = say(200, gzip.compress(b"\0" * (50 << 20)), content_encoding="gzip")
    with pytest.raises(ImageError, match="content-encoding gzip"):
        Fetcher(allow_private=True).fetch(f"{site.url}/bomb")


def test_an_answer_that_breaks_off_is_an_error(site: Site) -> None:
    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 10)
        handler.close_connection = True

    site.answers["/broken"] = broken
    with pytest.raises(ImageError, match="can't be fetched"):
        Fetcher(allow_private=True).fetch(f"{site.url}/broken")


def test_a_busy_server_is_asked_again_when_it_says(site: Site) -> None:
    answers = iter([say(429, retry_after="0"), say(503, retry_after="0"), say(200, b"picture")])
    site.answers["/a.png"] = lambda handler: next(answers)(handler)
    assert Fetcher(allow_private=True).fetch(f"{site.url}/a.png") == b"picture"


@pytest.mark.parametrize("status", [404, 403, 410, 204])
def test_other_answers_are_errors_at_once(site: Site, status: int) -> None:
    site.answers["/a.png"] = say(status)
    with pytest.raises(ImageError, match=f"the server answered {status}"):
        Fetcher(allow_private=True).fetch(f"{site.url}/a.png?token=s3cret")
    assert len(site.asked) == 1


def test_secrets_in_a_url_are_not_repeated(site: Site) -> None:
    for url in (f"{site.url}/gone?token=s3cret", f"http://user:s3cret@127.0.0.1:{site.port}/a"):
        with pytest.raises(ImageError) as caught:
            Fetcher(allow_private=True).fetch(url)
        assert "s3cret" not in str(caught.value)


def test_a_host_is_asked_a_few_at_a_time(site: Site) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.05)
        say(200, b"picture")(handler)

    for n in range(24):
        site.answers[f"/{n}"] = slow
    fetcher = Fetcher(allow_private=True, per_host=3)
    threads = [threading.Thread(target=fetcher.fetch, args=(f"{site.url}/{n}",)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.asked) == 24
    assert site.most_at_once <= 3


def test_what_was_fetched_is_asked_for_again_by_its_validator(site: Site, tmp_path: Path) -> None:
    site.answers["/a.png"] = say(200, b"first", etag='"1"', last_modified="Tue, 24 Nov 2026 00:00:00 GMT")
    fetcher = Fetcher(allow_private=True, cache=ImageCache(tmp_path))
    url = f"{site.url}/a.png"
    assert fetcher.fetch(url) == b"first"
    assert fetcher.fetch(url) == b"first"
    assert len(site.asked) == 1
    site.answers["/a.png"] = say(304)
    assert fetcher.fetch(url, fresh_s=0) == b"first"
    assert site.asked[-1][1]["if-none-match"] == '"1"'
    assert site.asked[-1][1]["if-modified-since"] == "Tue, 24 Nov 2026 00:00:00 GMT"
    site.answers["/a.png"] = say(200, b"second", etag='"2"')
    assert fetcher.fetch(url, fresh_s=0) == b"second"
    # Another run, or another process, finds it too.
    assert Fetcher(allow_private=True, cache=ImageCache(tmp_path)).fetch(url) == b"second"


def test_a_run_gets_from_the_cache_only_what_it_may_fetch_itself(site: Site, tmp_path: Path) -> None:
    site.answers["/a.png"] = say(200, b"picture" * 100, etag='"1"')
    site.answers["/moved.png"] = say(302, location="/a.png")
    cache = ImageCache(tmp_path)
    trusting = Fetcher(allow_private=True, cache=cache)
    for name in ("a.png", "moved.png"):
        url = f"{site.url}/{name}"
        assert trusting.fetch(url) == b"picture" * 100
        # As a connection that is used again, and an answer that nothing has changed.
        site.answers["/a.png"] = say(304)
        assert trusting.fetch(url, fresh_s=0) == b"picture" * 100
        asked = len(site.asked)
        for fresh_s in (3600.0, 0.0):
            with pytest.raises(ImageError, match="not a public address"):
                Fetcher(cache=cache).fetch(url, fresh_s=fresh_s)
            with pytest.raises(ImageError, match="more than the 100 bytes allowed"):
                Fetcher(allow_private=True, max_bytes=100, cache=cache).fetch(url, fresh_s=fresh_s)
        assert len(site.asked) == asked + (1 if name == "a.png" else 2)
        site.answers["/a.png"] = say(200, b"picture" * 100, etag='"1"')
    # What was fetched from the internet is everybody's.
    cache.store("http://example.com/b.png", b"public", etag=None, last_modified=None, private=False)
    assert Fetcher(cache=cache).fetch("http://example.com/b.png") == b"public"


def test_what_an_older_cache_holds_may_be_private(site: Site, tmp_path: Path) -> None:
    site.answers["/a.png"] = say(200, b"picture")
    url = f"{site.url}/a.png"
    assert Fetcher(allow_private=True, cache=ImageCache(tmp_path)).fetch(url) == b"picture"
    with sqlite3.connect(tmp_path / "urls.sqlite") as database:
        database.execute("ALTER TABLE urls DROP COLUMN private")
    with pytest.raises(ImageError, match="not a public address"):
        Fetcher(cache=ImageCache(tmp_path)).fetch(url)
    assert Fetcher(allow_private=True, cache=ImageCache(tmp_path)).fetch(url) == b"picture"
    assert len(site.asked) == 1


def test_the_cache_keeps_a_content_once_stays_within_its_limit_and_bears_damage(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, limit=2_500)
    for n in range(5):
        cache.store(f"http://a/{n}", b"same" * 250, etag=None, last_modified=None, private=False)
    assert len(list((tmp_path / "contents").glob("*/*"))) == 1
    for n in range(4):
        cache.store(f"http://b/{n}", bytes([n]) * 1_000, etag=None, last_modified=None, private=False)
        time.sleep(0.01)
    cache.sweep()
    assert sum(p.stat().st_size for p in (tmp_path / "contents").glob("*/*")) <= 2_500
    assert cache.find("http://a/0") is None
    found = cache.find("http://b/3")
    assert found is not None
    assert found[1] == b"\3" * 1_000
    next(p for p in (tmp_path / "contents").glob("*/*") if p.read_bytes() == found[1]).write_bytes(b"damaged")
    assert cache.find("http://b/3") is None
    cache.store("http://b/3", b"whole", etag=None, last_modified=None, private=False)
    assert ImageCache(tmp_path).find("http://b/3") is not None


def test_a_damaged_database_of_the_cache_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "urls.sqlite").write_bytes(b"no database" * 1_000)
    cache = ImageCache(tmp_path)
    assert cache.find("http://a/") is None
    cache.store("http://a/", b"picture", etag='"1"', last_modified=None, private=False)
    found = cache.find("http://a/")
    assert found is not None
    assert (found[0].etag, found[1]) == ('"1"', b"picture")


def test_threads_and_processes_share_a_cache(tmp_path: Path) -> None:
    def store(part: int) -> None:
        cache = ImageCache(tmp_path)
        for n in range(50):
            cache.store(f"http://{part}/{n}", b"%d-%d" % (part, n), etag=None, last_modified=None, private=False)

    threads = [threading.Thread(target=store, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache = ImageCache(tmp_path)
    for part in range(4):
        for n in range(50):
            found = cache.find(f"http://{part}/{n}")
            assert found is not None
            assert found[1] == b"%d-%d" % (part, n)


@pytest.mark.node
def test_documents_with_urls_get_their_vectors_and_a_changed_image_is_noticed(
    server: Server, encoder: Encoder, pictures: Path, tmp_path: Path, site: Site
) -> None:
    for n in range(4):
        site.answers[f"/{n}.jpg"] = say(200, (pictures / f"{n}.png").read_bytes(), etag=f'"{n}"')
    # Content decides, not what the server calls it.
    site.answers["/page.png"] = say(200, b"<html>Not here</html>", content_type="image/png")
    documents = [{"title": "shoe", "photo": f"{site.url}/{n}.jpg"} for n in range(4)]
    documents += [{"title": "hat", "photo": f"{site.url}/page.png"}, {"title": "sock", "photo": f"{site.url}/gone.png"}]
    index = server.new_index(MAPPINGS, documents)
    closed = add_vectors(server.client, index, encoder, [TITLE, PHOTO], Options(images=ImageAccess(cache=tmp_path)))
    assert closed.failed == {"photo_vector": 6}
    assert site.asked == []
    access = ImageAccess(allow_private_urls=True, cache=tmp_path)
    report = reindex(server.client, index, encoder, Options(Selection(failed=True), access))
    assert report.written == {"photo_vector": 4}
    reasons = {f.id: f.reason for f in report.failures}
    assert "the server answered 404" in reasons["5"]
    assert "4" in reasons
    # Three are unchanged by their validator, one has another content under the same URL.
    for n in range(3):
        site.answers[f"/{n}.jpg"] = say(304)
    site.answers["/3.jpg"] = say(200, (pictures / "40.png").read_bytes(), etag='"new"')
    changed = reindex(server.client, index, encoder, Options(Selection(False, stale=True, contents=True), access))
    assert (changed.written, changed.unchanged) == ({"photo_vector": 1}, {"photo_vector": 3})
    expected = encoder.encode_images([pictures / "40.png"])[0]
    assert all_documents(server, index)["3"]["photo_vector"] == pytest.approx(expected.tolist(), abs=1e-5)
