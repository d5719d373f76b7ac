"""Answering what the other process asks about one file."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from crosslens.ingest.sources.decoding import wire
from crosslens.ingest.sources.decoding.container import Source, UnreadableError, said
from crosslens.ingest.sources.decoding.extent import info_of
from crosslens.ingest.sources.decoding.pictures import pictures
from crosslens.ingest.sources.decoding.shapes import Cutting, MediaInfo, MediaLimits, Moment
from crosslens.ingest.sources.decoding.shots import moments_of
from crosslens.ingest.sources.decoding.sound import sounds
from crosslens.ingest.sources.decoding.words import cues_of

_BEAT_S = 1.0


def serve(channel: socket.socket, file: int, opening: dict[str, Any]) -> None:
    """Answer requests about the file at descriptor ``file`` until the channel closes."""
    limits = MediaLimits(**opening["limits"])
    session = _Session(channel, Source(file, opening["kind"], limits, _Beat(channel)))
    while (got := wire.receive_request(channel)) is not None:
        try:
            session.answer(got[0])
        except UnreadableError as error:
            _say(channel, str(error))
        except MemoryError:
            _say(channel, "", memory=True)
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - whatever damaged files bring about is for the other process to say
            _say(channel, f"can't be decoded ({type(error).__name__}: {said(error)})")


def _say(channel: socket.socket, message: str, *, memory: bool = False) -> None:
    wire.send_answer(channel, wire.ERROR, data=json.dumps({"message": message, "memory": memory}).encode())


class _Beat:
    """Says every second that decoding goes on."""

    def __init__(self, channel: socket.socket):
        self._channel, self._last = channel, time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last >= _BEAT_S:
            self._last = now
            wire.send_answer(self._channel, wire.BEAT)


class _Session:
    def __init__(self, channel: socket.socket, source: Source):
        self._channel, self._source = channel, source
        self._info: MediaInfo | None = None

    def answer(self, request: dict[str, Any]) -> None:
        """Answer one request."""
        match request["do"]:
            case "info":
                self._info = info_of(self._source)
                self._json(asdict(self._info))
            case "moments":
                info = self._info or info_of(self._source)
                found = moments_of(self._source, info, Cutting(**request["cutting"]))
                self._json([[moment.start_ms, moment.end_ms] for moment in found])
            case "cues":
                self._json([[cue.start_ms, cue.end_ms, cue.text] for cue in cues_of(self._source)])
            case "frames":
                within = [Moment(*each) for each in request["within"]] if request["within"] is not None else None
                self._frames(pictures(self._source, request["times"], request["side"], within))
            case "sound":
                self._sounds(sounds(self._source, [Moment(*each) for each in request["spans"]], request["rate"]))
            case "stop":
                # What was to stop is over already.
                pass

    def _json(self, value: Any) -> None:
        wire.send_answer(self._channel, wire.JSON, data=json.dumps(value).encode())

    def _frames(self, found: Iterator[np.ndarray[Any, Any]]) -> None:
        for picture in self._unless_stopped(found):
            wire.send_answer(self._channel, wire.FRAME, picture.shape[0], picture.shape[1], picture.data)
        wire.send_answer(self._channel, wire.END)

    def _sounds(self, found: Iterator[np.ndarray[Any, Any]]) -> None:
        for samples in self._unless_stopped(found):
            wire.send_answer(self._channel, wire.SOUND, len(samples), 0, samples.data)
        wire.send_answer(self._channel, wire.END)

    def _unless_stopped(self, found: Iterator[np.ndarray[Any, Any]]) -> Iterator[np.ndarray[Any, Any]]:
        """Yield from ``found`` until a request waits, which means that nobody wants the rest."""
        try:
            for each in found:
                if select.select([self._channel], [], [], 0)[0]:
                    return
                yield each
        finally:
            found.close()  # type: ignore[attr-defined]
