"""Windows of so few documents that rounded scores are too rough to judge by.

What a quantised vector is off by is little beside the scores of a whole window. Between three documents it decides how
steep the window's tail is, and with it all of their totals (see `crosslens.queries.fusion.evidence.by_tail`).
"""

from __future__ import annotations

from crosslens.queries.search.answers import ask, checked, raw_scores
from crosslens.queries.search.legs import Leg
from crosslens.queries.search.plan import Plan
from crosslens.queries.search.requests import Search, Steps
from crosslens.queries.search.windows import Windows

# From this many documents on, rounding changes totals no more than in a window of a hundred.
_FEW = 10


def rescoring_trip(plan: Plan, windows: Windows) -> Steps[None]:
    """Compare again with whole floats what a vector leg found, where evidence is to judge by few documents.

    In one round trip; elsewhere nothing is asked. Raises `QueryError` for what the server refuses.
    """
    searches: list[Search] = []
    owners: list[Leg] = []
    for leg in plan.legs if plan.wanted.needs_chances and plan.rescore else ():
        found = list(windows.raw[leg.name])
        if not leg.exact and 1 < len(found) < _FEW:
            for body in leg.completions(found, rescore=True, most=plan.most):
                searches.append(plan.search(body))
                owners.append(leg)
    names = [f"{leg.name}, compared with whole floats" for leg in owners]
    answers = checked((yield from ask(searches)), names)
    windows.profile |= {name: float(answer["took"]) for name, answer in zip(names, answers, strict=True)}
    for name, scores in raw_scores(owners, answers)[0].items():
        # A document that was deleted meanwhile keeps the score that it was found by.
        windows.raw[name] |= scores
