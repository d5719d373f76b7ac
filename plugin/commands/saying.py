"""What commands say along the way, to a person, in a log, or as JSON; and output that never fails."""

from __future__ import annotations

import codecs
import io
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal, NoReturn, cast

from rich.console import Console

from crosslens.surrogates import mended, well_formed

LogFormat = Literal["text", "json"]
LOG_FORMATS: tuple[LogFormat, ...] = ("text", "json")
CLOSED = 141
"""The exit status of a program whose reader went away, as in ``| head``: 128 and SIGPIPE."""
_LOG = logging.getLogger("crosslens")


class OutputClosedError(Exception):
    """Nobody reads the results any more."""


class _Results(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise OutputClosedError


class _Notes(Console):
    def on_broken_pipe(self) -> None:
        # The work goes on, whether anybody listens or not.
        self.quiet = True


# Results go to standard output, everything said along the way to standard error, so that pipes get results only.
out = _Results()
note = _Notes(stderr=True)


class _Handler(logging.Handler):
    """Writes the records of the logger "crosslens" to standard error."""

    form: LogFormat = "text"

    def emit(self, record: logging.LogRecord) -> None:
        message, time = well_formed(record.getMessage()), datetime.fromtimestamp(record.created, UTC)
        level, stamp = record.levelname.lower(), time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self.form == "json":
            fields = mended(getattr(record, "fields", {}))
            line = json.dumps({"time": stamp, "level": level, "message": message, **fields}, default=str)
        elif note.is_terminal:
            # Above the bar, if there is one.
            note.print(message, markup=False, highlight=False, soft_wrap=True)
            return
        else:
            line = f"{stamp} {level}: {message}"
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except OSError:
            # Nobody listens; what is being done matters more than what is said of it.
            note.quiet = True


_HANDLER = _Handler()


def set_up(form: str) -> None:
    """Send the library's log to standard error in this format; JSON also takes the place of bars and notes."""
    _HANDLER.form = cast(LogFormat, form)
    if _HANDLER not in _LOG.handlers:
        _LOG.addHandler(_HANDLER)
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False
    if form == "json":
        note.is_interactive = False


def chosen_format() -> LogFormat:
    """The format that `set_up` was called with."""
    return _HANDLER.form


def say(message: str) -> None:
    """Mention something beside the results."""
    if _HANDLER.form == "json":
        _LOG.info(message)
    else:
        note.print(message, highlight=False, markup=False, soft_wrap=True)


def say_error(message: str) -> None:
    """Say why the command ends, in a sentence."""
    if _HANDLER.form == "json":
        _LOG.error(message)
        return
    try:
        sys.stderr.write(f"{message}\n")
    except OSError:
        note.quiet = True


def print_json(value: object) -> None:
    """One JSON document on standard output, never wrapped or coloured."""
    wide = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")
    print_plain(json.dumps(mended(value), ensure_ascii=not wide, indent=2, default=str))


def print_plain(text: str) -> None:
    """A text on standard output as it is. Raises `OutputClosedError` where nobody reads it."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosedError from error


def forgiving_streams() -> None:
    """Let standard output and error replace the characters that their encoding lacks, instead of failing."""
    codecs.register_error("crosslens", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="crosslens")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    try:
        "\ufffd".encode(error.encoding)
    except UnicodeEncodeError:
        return "?" * (error.end - error.start), error.end
    return "\ufffd" * (error.end - error.start), error.end


def closed_streams() -> bool:
    """Write what is left in the streams' buffers; whether standard output had nobody to read it."""
    closed = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            closed = closed or stream is sys.stdout
            # The interpreter flushes once more as it ends.
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, stream.fileno())
            os.close(silence)
    return closed
