"""How sure a share is that was seen in a sample."""

from __future__ import annotations

import math

_Z = 1.959964  # 95 %


def interval(share: float, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a ``share`` from 0 to 1 that was seen among ``of`` things; 0 to 1 for none.

    Wilson's score interval, which stays within 0 and 1 and is no point where the share is 0 or 1. Of a mean of values
    from 0 to 1 it is too wide rather than too narrow: none of them vary more than a share does.

    Source: Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference,
    doi 10.1080/01621459.1927.10502953.
    """
    if not of:
        return 0.0, 1.0
    share = min(max(share, 0.0), 1.0)
    squared = _Z * _Z / of
    middle = (share + squared / 2) / (1 + squared)
    reach = math.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)
