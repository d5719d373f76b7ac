"""Results in the order of a field instead of their total."""

from __future__ import annotations

from crosslens.errors import QueryError
from crosslens.ingest.contract.documents import DocumentKey
from crosslens.queries.search.answers import ask, checked
from crosslens.queries.search.completion import Best
from crosslens.queries.search.keys import named
from crosslens.queries.search.plan import Plan
from crosslens.queries.search.requests import Steps


def sorted_by_field(plan: Plan, best: Best) -> Steps[Best]:
    """Return the same documents as the search's ``sort`` orders them; those that it finds equal keep their order.

    In one round trip; without a ``sort``, nothing is asked. Raises `QueryError` for one that the server refuses, and
    for more documents than the index returns.
    """
    order = plan.options.sort
    if order is None or not best:
        return best
    if len(best) > plan.most:
        raise QueryError(
            f"{len(best)} documents can't be sorted: the index returns {plan.most} at most (index.max_result_window)",
            hint="choose a smaller window",
            parameter="window",
        )
    body = {"query": named([key for key, _ in best]), "sort": order, "size": len(best), "_source": False}
    (answer,) = checked((yield from ask([plan.search({**body, "track_total_hits": False})])), ["sort"])
    # In a point in time the server adds a value of its own, by which no two documents are equal.
    count = 1 if isinstance(order, str) else len(order)
    places: dict[DocumentKey, int] = {}
    place, before = 0, None
    for hit in answer["hits"]["hits"]:
        values = hit["sort"][:count]
        place += values != before
        places[(hit["_index"], hit["_id"])] = place
        before = values
    return sorted((item for item in best if item[0] in places), key=lambda item: places[item[0]])
