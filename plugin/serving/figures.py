"""What the service says of itself to Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Figures:
    """Counts and times, in a registry of their own, so that several services in a process don't mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.searches = Counter(
            "crosslens_serve_searches", "Searches by how they ended.", ["outcome"], registry=self._registry
        )
        self.seconds = Histogram(
            "crosslens_serve_search_seconds",
            "Seconds of a search, by what took them.",
            ["part"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.pictures = Counter(
            "crosslens_serve_pictures",
            "Thumbnails and given pictures, by how they ended.",
            ["outcome"],
            registry=self._registry,
        )
        self.thumbs = Counter("crosslens_serve_thumbs", "Thumbs by way.", ["way"], registry=self._registry)
        self.running = Gauge("crosslens_serve_searches_running", "Searches in progress.", registry=self._registry)

    def exposition(self) -> bytes:
        """Return them as Prometheus reads them, as `CONTENT_TYPE`."""
        return generate_latest(self._registry)
