"""Strangers' media: what a file can't do, whatever is in it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosslens.errors import MediaError
from crosslens.ingest.sources.decoding import wire
from crosslens.ingest.sources.media import Cutting, Media, MediaLimits, Moment, open_media
from crosslens.ingest.sources.media.opened import open_as
from crosslens.ingest.sources.media.process import Child, nursery
from tests.ingest.footage import Film, film

pytest.importorskip("av", reason="sound and footage need the extra av")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="decoding needs processes with limits")

PLAYLISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{canary}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{canary}\n#EXT-X-ENDLIST\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile '{canary}'\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash.mpd": '<?xml version="1.0"?>\n<MPD><Period><BaseURL>file://{canary}</BaseURL></Period></MPD>',
    "list.pls": "[playlist]\nFile1={canary}\n",
    "list.asx": '<asx version="3.0"><entry><ref href="{canary}"/></entry></asx>',
    "reference.mov": "[Reference]\nRef1=http://127.0.0.1/x?MSWMExt=.asf\n",
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A pipe: whoever opens it to read waits there, and is seen."""
    os.mkfifo(tmp_path / "canary.ts")
    return tmp_path / "canary.ts"


def is_read(pipe: Path) -> bool:
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_file_that_names_others_is_refused(name: str, tmp_path: Path, canary: Path) -> None:
    (tmp_path / name).write_text(PLAYLISTS[name].format(canary=canary))
    with pytest.raises(MediaError, match="names other files, as a playlist does"):
        open_media(tmp_path / name)
    assert not is_read(canary)


@pytest.mark.parametrize(("kind", "name"), [("hls", "hls.m3u8"), ("hls", "hls.mp4"), ("concat", "concat.ffconcat")])
def test_even_a_playlist_that_is_taken_for_media_reads_nothing_else(
    kind: str, name: str, tmp_path: Path, canary: Path
) -> None:
    (tmp_path / name).write_text(PLAYLISTS[name].format(canary=canary))
    descriptor = os.open(tmp_path / name, os.O_RDONLY)
    with pytest.raises(MediaError, match="can't be"):
        open_as(kind, descriptor, MediaLimits(patience_s=20), "x")
    os.close(descriptor)
    assert not is_read(canary)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "a picture"),
        (b"<!doctype html><title>Log in</title>", "an HTML page titled 'Log in'"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "a picture"),
        (b"Hello", "text"),
    ],
)
def test_what_is_no_media_is_said_to_be_what_it_is(data: bytes, said: str) -> None:
    with pytest.raises(MediaError, match=f"x: .*{said}"):
        open_media(data, name="x")


def test_a_pipe_or_folder_is_no_file(tmp_path: Path, canary: Path) -> None:
    for path in (canary, tmp_path):
        with pytest.raises(MediaError, match=r"not a file|can't be read"):
            open_media(path)
    with pytest.raises(MediaError, match="no such file"):
        open_media(tmp_path / "none.mp4")


ATTEMPTS = """
import ctypes, os, resource, socket, subprocess, sys, threading
from crosslens.ingest.sources.decoding.confine import confine
path, held = sys.argv[1], open(sys.argv[1], "r+b")
confine(1 << 30, 10)
thread = threading.Thread(target=lambda: None)
thread.start(); thread.join()
def write():
    held.write(b"x"); held.flush()
attempts = {
    "open": lambda: open(path, "rb"),
    "open another instead": lambda: (os.close(0), os.open("/etc/passwd", os.O_RDONLY)),
    "write": write,
    "create": lambda: os.open(path + ".new", os.O_WRONLY | os.O_CREAT),
    "socket": lambda: socket.socket(),
    "pair": lambda: socket.socketpair(),
    "fork": lambda: os.fork() or os._exit(0),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "remove": lambda: os.unlink(path),
    "rename": lambda: os.rename(path, path + ".new"),
    "signal": lambda: os.kill(os.getppid(), 0),
    "limits": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
    "memory": lambda: bytearray(2 << 30),
}
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for name, attempt in attempts.items():
    try:
        attempt()
    except (OSError, ValueError, MemoryError):
        continue
    print("could", name)
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's filter of calls is Linux's")
def test_a_process_that_decodes_can_open_write_start_and_reach_nothing(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(b"held")
    ran = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, tmp_path / "held"], stdout=subprocess.PIPE, text=True, timeout=120, check=False
    )
    assert ran.stdout.split("\n") == ["done", ""]
    assert (tmp_path / "held").read_bytes() == b"held"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (MediaLimits(pixels=640 * 479), r"pixels are more than|can't be opened"),
        (MediaLimits(seconds=1), "lasts 2 s, more than the 1 s allowed"),
        (MediaLimits(bytes=1000), "more than the 1,000 allowed"),
    ],
)
def test_pictures_seconds_and_bytes_are_limited(limits: MediaLimits, said: str) -> None:
    data = film(Film(width=640, height=480, seconds=2))
    with pytest.raises(MediaError, match=said):
        open_media(data, limits)


def test_memory_is_limited() -> None:
    data = film(Film(width=2560, height=1440, seconds=0.5))
    whole = MediaLimits(memory=256 << 20)
    with open_media(data, whole) as media:
        assert next(media.frames([0])).shape == (1440, 2560, 3)
    with pytest.raises(MediaError, match="needs more than the 4 MB of memory"):
        seen_of(data, MediaLimits(memory=4 << 20))


def seen_of(data: bytes, limits: MediaLimits) -> None:
    with open_media(data, limits) as media:
        for _ in media.frames([0, 400]):
            pass


def cut_for_ever(media: Media) -> None:
    while True:
        media.moments(Cutting())


def test_processor_time_is_limited() -> None:
    with (
        open_media(film(Film(width=640, height=480)), MediaLimits(cpu_s=1)) as media,
        pytest.raises(MediaError, match="took more than the 1 s of processor time"),
    ):
        cut_for_ever(media)


def test_a_decoder_that_gets_nowhere_is_ended() -> None:
    with open_media(film(Film()), MediaLimits(patience_s=0.5)) as media:
        os.kill(media._child._child, signal.SIGSTOP)
        with pytest.raises(MediaError, match=r"got nowhere for 0\.5 s"):
            media.moments(Cutting())
        ended = media._child.ended or {}
        assert (ended["code"], ended["killed"]) == (-signal.SIGKILL, True)
        with pytest.raises(MediaError, match="is closed"):
            media.cues()


def test_a_decoder_that_crashes_takes_nothing_with_it() -> None:
    data = film(Film())
    with open_media(data) as media, open_media(data) as other:
        os.kill(media._child._child, signal.SIGSEGV)
        with pytest.raises(MediaError, match=r"the decoder crashed \(SIGSEGV\)"):
            media.moments(Cutting())
        assert len(list(other.frames([0, 3000]))) == 2


def test_children_end_with_their_nursery_and_a_new_one_is_started() -> None:
    data = film(Film())
    with open_media(data) as media:
        first = nursery()
        first._process.kill()
        first._process.wait()
        with pytest.raises(MediaError):
            media.moments(Cutting())
        with open_media(data) as other:
            assert other.info == media.info
        assert nursery() is not first


def test_a_closed_or_forgotten_file_leaves_no_process_and_no_descriptor() -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208

    data = film(Film())
    with open_media(data) as media:
        children = [media._child._child]
    before = descriptors()
    for _ in range(3):
        with open_media(data) as media:
            next(media.frames([0, 1000, 2000]))
            children.append(media._child._child)
    forgotten = open_media(data)
    children.append(forgotten._child._child)
    del forgotten
    assert descriptors() == before
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


class Forger:
    """Plays the child of a hostile file, which has taken over the decoder."""

    def __init__(self, *answers: bytes):
        ours, self._theirs = socket.socketpair()
        ours.settimeout(10)
        child = Child.__new__(Child)
        child._channel, child._limits, child._name = ours, MediaLimits(seconds=60, pixels=10_000), "x"
        child._waited, child.ended = 0.0, None
        child.end = self._end  # type: ignore[method-assign]
        self.child, self.is_ended = child, False
        for answer in answers:
            self._theirs.sendall(answer)

    def _end(self, patience_s: float = 0.0) -> None:
        self.is_ended = True
        self.child.ended = {}


def said(kind: bytes, a: int, b: int, data: bytes, length: int | None = None) -> bytes:
    return wire.ANSWER.pack(kind, a, b, len(data) if length is None else length) + data


INFO = b'{"seconds": 6.0, "video": true, "audio": true, "captions": 0, "width": 64, "height": 48}'
FORGERIES: list[tuple[bytes, Callable[[Media], Any]]] = [
    (said(wire.FRAME, 1 << 31, 1 << 31, b"", 3 << 62), lambda media: list(media.frames([0]))),
    (said(wire.FRAME, 10, 10, bytes(299)), lambda media: list(media.frames([0]))),
    (said(wire.FRAME, 100, 100, bytes(30_000)), lambda media: list(media.frames([0], 64))),
    (said(wire.SOUND, 10, 0, bytes(40)), lambda media: list(media.frames([0]))),
    (said(wire.SOUND, 1 << 31, 0, b"", 1 << 33), lambda media: list(media.sound([Moment(0, 1000)], 8000))),
    (said(wire.SOUND, 1, 0, struct.pack("<f", np.nan)), lambda media: list(media.sound([Moment(0, 1000)], 8000))),
    (said(wire.END, 0, 0, b""), lambda media: list(media.frames([0]))),
    (said(wire.JSON, 0, 0, b"", 1 << 62), lambda media: media.moments()),
    (said(wire.JSON, 0, 0, b"[[0, 1000], [900, 2000]]"), lambda media: media.moments()),
    (said(wire.JSON, 0, 0, b"[[0, 1e300]]"), lambda media: media.moments()),
    (said(wire.JSON, 0, 0, b"[[0, 99999999]]"), lambda media: media.moments()),
    (said(wire.JSON, 0, 0, b"{" * 100), lambda media: media.moments()),
    (said(wire.JSON, 0, 0, b"[" * 100_000), lambda media: media.moments()),
    (said(wire.JSON, 0, 0, b'[[0, 1, {"a": 1}]]'), lambda media: media.cues()),
]


@pytest.mark.parametrize("place", range(len(FORGERIES)))
def test_answers_that_cannot_be_true_end_the_child(place: int) -> None:
    answer, ask = FORGERIES[place]
    forger = Forger(said(wire.JSON, 0, 0, INFO), answer)
    media = Media(forger.child, MediaLimits(seconds=60, pixels=10_000), "x")
    with pytest.raises(MediaError, match="gave what can't be true"):
        ask(media)
    assert forger.is_ended


@pytest.mark.parametrize(
    "info",
    [
        INFO.replace(b"6.0", b"-1"),
        INFO.replace(b"6.0", b"NaN"),
        INFO.replace(b"64", b"1e9"),
        b"[]",
        b'{"x": 1}',
        b"null",
    ],
)
def test_a_description_that_cannot_be_true_ends_the_child(info: bytes) -> None:
    forger = Forger(said(wire.JSON, 0, 0, info))
    with pytest.raises(MediaError, match="gave what can't be true"):
        Media(forger.child, MediaLimits(seconds=60, pixels=10_000), "x")
    assert forger.is_ended
