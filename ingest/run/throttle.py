"""How large the next bulk request is, and how long to wait before it: from how the server took the last ones."""

from __future__ import annotations

from dataclasses import dataclass

_START = 1 << 20
_LEAST, _MOST = 64 << 10, 8 << 20
# A request that takes longer than this holds up a queue, and one much shorter costs more overhead than work.
_LONG_S, _SHORT_S = 3.0, 0.5
_RISEN = 2.5
_LONGEST_PAUSE_S = 5.0


@dataclass
class Throttle:
    """Additive increase, multiplicative decrease (as TCP's, Chiu and Jain 1989), on bytes a request.

    A rising time per byte is a queue in front of the server's workers: the throttle then also rests between requests,
    as long as the last one took, so that the queue drains and other clients of the cluster get their turn.
    """

    limit: int = _START
    _usual: float | None = None

    def answered(self, size: int, seconds: float) -> float:
        """Takes note of a request of ``size`` bytes that was accepted; returns seconds to rest."""
        cost = seconds / max(size, 1)
        usual = self._usual if self._usual is not None else cost
        rising = cost > _RISEN * usual and seconds > _SHORT_S
        # The usual cost follows slowly, so that a server that is slower for good isn't waited for for good.
        self._usual = 0.9 * usual + 0.1 * min(cost, _RISEN * usual)
        if rising or seconds > _LONG_S:
            self.limit = max(_LEAST, self.limit // 2)
        elif seconds < _SHORT_S:
            self.limit = min(_MOST, self.limit + _START // 4)
        return min(seconds, _LONGEST_PAUSE_S) if rising else 0.0

    def refused(self) -> None:
        """Takes note of a request that the server turned away as too busy (429)."""
        self.limit = max(_LEAST, self.limit // 2)
