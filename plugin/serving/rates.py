"""How much a client may ask for: a rate with room for a burst."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """``per_second`` units on average, and ``burst`` at once."""

    per_second: float
    burst: float


class Allowance:
    """What each client has left of its rate; of the ``most`` clients heard last, so that memory is bounded.

    The generic cell rate algorithm (ITU-T I.371), which keeps one time a client. A client that is forgotten starts
    with a whole burst: whoever has ``most`` addresses has as many rates.
    """

    def __init__(self, rate: Rate, most: int = 10_000):
        self._rate, self._most = rate, most
        # When a client will have all of its burst again.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def ask(self, client: str, units: float, now: float) -> float:
        """Take ``units`` and return 0, or take nothing and return in how many seconds there will be as many.

        ``now`` is monotonic time in seconds. More units than a burst are never allowed: they return infinity.
        """
        if units > self._rate.burst:
            return float("inf")
        full_at = max(self._full_at.get(client, now), now) + units / self._rate.per_second
        wait = full_at - now - self._rate.burst / self._rate.per_second
        if wait > 1e-9:
            return wait
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return 0.0
