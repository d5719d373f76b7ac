"""How a follower stands, as other threads may read it: replaced as a whole after each turn, never changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crosslens.ingest.run.sync.keeper import Keeper

_ALIVE_S = 300.0


@dataclass(frozen=True)
class Shown:
    """How an index stands; ``as_of`` by `time.monotonic`, the rest as in `Keeper` and `Tally`."""

    as_of: float
    behind: int
    to_check: int
    failed: int
    vectors: Mapping[tuple[str, str], int]
    read: int
    written: int
    conflicts: int
    encoding_s: float
    trouble: str = ""

    @classmethod
    def of(cls, keeper: Keeper, trouble: str) -> Shown:
        """How a keeper's index stands now."""
        tally = keeper.tally
        return cls(
            keeper.as_of,
            keeper.behind,
            keeper.to_check,
            keeper.failed,
            dict(tally.vectors),
            tally.read,
            tally.written,
            tally.conflicts,
            tally.encoding_s,
            trouble,
        )

    def numbers(self, now: float) -> dict[str, float]:
        """What is told of it in a line: documents and seconds behind, and what is still to do or was done."""
        return {
            "documents_behind": self.behind,
            "seconds_behind": round(max(0.0, now - self.as_of), 3),
            "to_check": self.to_check,
            "failed": self.failed,
            "written": self.written,
        }


@dataclass
class SyncState:
    """What a follower shows: its ``indices``, ``troubles`` by the names that are followed, and its last ``beat``."""

    indices: Mapping[str, Shown] = field(default_factory=dict)
    troubles: Mapping[str, str] = field(default_factory=dict)
    beat: float = field(default_factory=time.monotonic)
    looks: int = 0
    errors: int = 0
    requests: int = 0
    requests_failed: int = 0
    server_s: float = 0.0

    def alive(self) -> bool:
        """Whether it goes on: a request that hangs, or a batch that never ends, holds it up for minutes at most."""
        return time.monotonic() - self.beat < _ALIVE_S

    def health(self) -> dict[str, Any]:
        """Whether it is alive, what troubles it, and how its indices stand."""
        now = time.monotonic()
        troubled = bool(self.troubles) or any(each.trouble for each in self.indices.values())
        return {
            "status": "stuck" if not self.alive() else "troubled" if troubled else "ok",
            "troubles": dict(self.troubles),
            "indices": {
                name: {**each.numbers(now), **({"trouble": each.trouble} if each.trouble else {})}
                for name, each in self.indices.items()
            },
        }
