"""Metrics for Prometheus, and health for whoever restarts what hangs, on a port of their own."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from crosslens.errors import SettingsError
from crosslens.ingest.run.sync.settings import SyncSettings
from crosslens.ingest.run.sync.state import SyncState

_PREFIX = "crosslens_sync"
_CLIENT_S = 5.0


class _Collected(Collector):
    """The state as metrics, made anew for each request."""

    def __init__(self, state: SyncState):
        self._state = state

    def collect(self) -> Iterator[Metric]:
        state, now = self._state, time.monotonic()
        gauges = {
            "documents_behind": (
                "Operations on the index that were not looked at yet: at most so many documents.",
                "behind",
            ),
            "documents_to_check": ("Operations before the start that are still to be looked at.", "to_check"),
            "documents_failed": ("Documents that failed and will be tried again.", "failed"),
        }
        for name, (said, attribute) in gauges.items():
            gauge = GaugeMetricFamily(f"{_PREFIX}_{name}", said, labels=["index"])
            for index, each in state.indices.items():
                gauge.add_metric([index], getattr(each, attribute))
            yield gauge
        behind = GaugeMetricFamily(
            f"{_PREFIX}_seconds_behind",
            "Seconds since when whatever is written may not be looked at.",
            labels=["index"],
        )
        working = GaugeMetricFamily(f"{_PREFIX}_up", "Whether the index can be read and written.", labels=["index"])
        vectors = CounterMetricFamily(
            f"{_PREFIX}_vectors",
            "Vector fields of documents, by what became of them.",
            labels=["index", "field", "outcome"],
        )
        counters = {
            "read": CounterMetricFamily(f"{_PREFIX}_documents_read", "Documents read.", labels=["index"]),
            "written": CounterMetricFamily(f"{_PREFIX}_documents_written", "Documents written.", labels=["index"]),
            "conflicts": CounterMetricFamily(
                f"{_PREFIX}_conflicts", "Writes that came too late, since others had written.", labels=["index"]
            ),
            "encoding_s": CounterMetricFamily(
                f"{_PREFIX}_encoder_seconds", "Time that encoding took.", labels=["index"]
            ),
        }
        for index, each in state.indices.items():
            behind.add_metric([index], max(0.0, now - each.as_of))
            working.add_metric([index], 0.0 if each.trouble else 1.0)
            for (field, outcome), count in each.vectors.items():
                vectors.add_metric([index, field, outcome], count)
            for attribute, counter in counters.items():
                counter.add_metric([index], getattr(each, attribute))
        for index in state.troubles.keys() - state.indices.keys():
            working.add_metric([index], 0.0)
        yield from (behind, working, vectors, *counters.values())
        server = SummaryMetricFamily(f"{_PREFIX}_server_seconds", "Time that Elasticsearch took to answer requests.")
        server.add_metric([], state.requests, state.server_s)
        yield server
        for name, said, value in (
            ("server_errors", "Requests that weren't answered, or with an error.", state.requests_failed),
            ("errors", "What went wrong, and was tried again later.", state.errors),
            ("looks", "Looks for changes.", state.looks),
        ):
            yield CounterMetricFamily(f"{_PREFIX}_{name}", said, value=value)


class Server:
    """Serves ``/metrics`` and ``/healthz`` of a state, where the settings say; follows them when they change."""

    def __init__(self, state: SyncState):
        self._state = state
        self._registry = CollectorRegistry()
        self._registry.register(_Collected(state))
        ProcessCollector(registry=self._registry)
        self._address: tuple[str, int] | None = None
        self._serving: ThreadingHTTPServer | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens; None for nowhere."""
        return None if self._serving is None else self._serving.server_address[:2]  # type: ignore[return-value]

    def serve(self, settings: SyncSettings) -> None:
        """Listen where ``settings`` say, if that isn't where it listens. Raises `SettingsError` where it can't."""
        if settings.address == self._address:
            return
        new = None if settings.address is None else self._opened(settings.address)
        self.close()
        self._address, self._serving = settings.address, new
        if new is not None:
            threading.Thread(target=new.serve_forever, name="crosslens-metrics", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        if self._serving is not None:
            self._serving.shutdown()
            self._serving.server_close()
        self._address = self._serving = None

    def _opened(self, address: tuple[str, int]) -> ThreadingHTTPServer:
        family = AF_INET6 if ":" in address[0] else AF_INET
        # Its own class, since the family is one's attribute.
        kind = type("_Serving", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
        try:
            opened: ThreadingHTTPServer = kind(address, self._handler())
        except OSError as error:
            said = f"metrics can't be served on {address[0]}:{address[1]} ({error.strerror or error})"
            raise SettingsError(said, hint="set listen to a free port, or to nothing") from error
        return opened

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        state, registry = self._state, self._registry

        class Handler(BaseHTTPRequestHandler):
            timeout = _CLIENT_S

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path == "/healthz":
                    body = json.dumps(state.health()).encode()
                    self._answer(200 if state.alive() else 503, "application/json", body)
                else:
                    self._answer(404, "text/plain; charset=utf-8", b"there are /metrics and /healthz\n")

            def do_HEAD(self) -> None:
                self.do_GET()

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                # Whoever asked may be gone.
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("content-type", kind)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Log nothing: probes come every few seconds."""

        return Handler
