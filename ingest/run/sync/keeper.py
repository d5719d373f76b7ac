"""One index, kept fresh: what changes first, then by turns what failed, what was there before, and pictures' contents.

Each `Keeper.step` reads a portion, makes what it lacks, and writes it guarded. Nothing has to be remembered between
steps but what is still to be read, so a step that fails is done again, and a follower that dies is missed by none.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from crosslens.errors import ConnectionFailedError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.fields import searchable_sources
from crosslens.ingest.contract.selection import (
    Selection,
    any_of,
    done_query,
    failed_query,
    missing_query,
    other_model_query,
)
from crosslens.ingest.contract.settings import page_limits
from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.sending import Guard
from crosslens.ingest.run.sync.mending import Choose, Mending, Tally
from crosslens.ingest.run.sync.pacing import Bucket, Portion, Retries
from crosslens.ingest.run.sync.places import Place, Places
from crosslens.ingest.run.sync.position import read_position, store_position
from crosslens.ingest.run.sync.segments import Segments
from crosslens.ingest.run.sync.settings import IndexSettings
from crosslens.ingest.run.tasks import Task, selected

_LOG = logging.getLogger("crosslens")
_STORE_S = 60.0
# A few documents at a time, which may have to be waited for.
_SLOW = 32


class Keeper:
    """Keeps an index's vectors fresh: `look` says what has been written to it, `step` does a portion of what is due.

    ``run`` is for the index by its own name, with its fields, encoders and access to images.
    """

    def __init__(self, run: Run, settings: IndexSettings, places: Places, tally: Tally, now: float):
        self.run, self.settings, self.tally = run, settings, tally
        self._uuid, self._places, self._as_of = places.uuid, dict(places.shards), now
        self._reader = run.reader()
        self._retries = Retries(settings.retry_first_s, settings.retry_most_s)
        self._mending = Mending(run, self._reader, self._retries, tally)
        self._most, self._portion = page_limits(run.client, run.index).window, Portion()
        self._changed, self._sweeps = Segments(), deque[Segments]()
        self._pictures = [each for each in run.fields if each.modality == "image"]
        self._contents = Segments(any_of([done_query(each) for each in self._pictures]))
        self._budget = Bucket(settings.pictures_per_minute / 60 if self._pictures else 0.0, _SLOW)
        self._pace = Bucket(settings.documents_per_second, _SLOW)
        self._turns = deque([self._retry, self._sweep, self._check_contents])
        self._unseen = True
        self._stored: dict[int, Place] = {}
        self._store_at = now + _STORE_S
        self._begin()

    def _begin(self) -> None:
        """Plan to look through the index: quickly what a query finds, and all that changed since it was last done."""
        known = read_position(self.run.client, self.run.index, Places(self._uuid, self._places), self.run.fields)
        checkpoints = {number: place.checkpoint for number, place in self._places.items()}
        searchable = searchable_sources(self.run.client, self.run.index, self.run.fields)
        found = Segments(
            any_of(
                [
                    query
                    for each in self.run.fields
                    for query in (missing_query(each, searchable), other_model_query(each), failed_query(each))
                ]
            )
        )
        found.add_all(checkpoints)
        since = Segments()
        for number, checkpoint in checkpoints.items():
            since.add(number, -1 if known is None else known[number], checkpoint)
        self._sweeps += [each for each in (found, since) if each.length]
        since_when = "since the start" if known is None else "since it was last followed"
        said = f"followed from now on; {since.length} operations {since_when} to look at"
        self._log("followed", said, operations=since.length, anew=known is None)

    @property
    def behind(self) -> int:
        """Operations on the index that are not looked at yet: at most so many documents are behind."""
        return self._changed.length

    @property
    def to_check(self) -> int:
        """Operations that were there when following began, and are still to be looked at."""
        return sum(sweep.length for sweep in self._sweeps)

    @property
    def failed(self) -> int:
        """Documents that failed and will be tried again."""
        return len(self._retries)

    @property
    def as_of(self) -> float:
        """By the clock of looks: everything written before has been looked at."""
        return min((segment.as_of for segment in self._changed.waiting), default=self._as_of)

    def fits(self, run: Run, settings: IndexSettings, uuid: str) -> bool:
        """Whether this keeper does what one made now would do."""
        return (run.fields, run.access, settings, uuid) == (self.run.fields, self.run.access, self.settings, self._uuid)

    def look(self, places: Places, now: float) -> None:
        """Take note of how far the index's operations go, as was asked at ``now``."""
        own = self._mending.taken_own_writes()
        if not self._only_own(places, own):
            self._take_up(places)
        for number, place in places.shards.items():
            before = self._places.get(number)
            # A copy that starts doesn't know yet how far it was.
            if before is None or before.history != place.history or before.checkpoint <= place.checkpoint:
                self._places[number] = place
        # Shards that aren't in use, or only start, hold operations that nobody can see yet.
        if places.shards == self._places:
            self._as_of = now

    def _only_own(self, places: Places, own: int) -> bool:
        """Whether all that was done since the last look are its ``own`` writes: as many were done, and neither then nor
        now was one under way."""
        before = self._places
        if places.shards.keys() != before.keys():
            return False
        advances = [place.highest - before[number].highest for number, place in places.shards.items()]
        settled = all(place.settled and before[number].settled for number, place in places.shards.items())
        same = all(place.history == before[number].history for number, place in places.shards.items())
        return same and settled and min(advances, default=0) >= 0 and sum(advances) == own

    def _take_up(self, places: Places) -> None:
        for number, place in places.shards.items():
            before = self._places.get(number)
            if before is None or before.history != place.history:
                # New here, restored, or made of a copy that missed operations: its numbers were given anew.
                self._changed.forget(number)
                before = Place(place.history, -1, -1)
            self._changed.add(number, before.checkpoint, place.checkpoint, as_of=self._as_of)
        self._unseen = True

    def step(self, now: float) -> bool:
        """Do a portion of what is most urgent; returns whether there was anything to do."""
        try:
            worked = self._work(now)
        except BaseException:
            # What was refreshed may have been another copy than what will be read.
            self._unseen = True
            raise
        if now >= self._store_at + (_STORE_S if worked else 0.0):
            self.store(now)
        return worked

    def _work(self, now: float) -> bool:
        if self._changed.waiting:
            self._read(self._changed, self._mending.behind, now)
            return True
        for _ in range(len(self._turns)):
            turn = self._turns[0]
            self._turns.rotate(-1)
            if turn(now):
                return True
        return False

    def wait_s(self, now: float) -> float:
        """Seconds until there may be something to do, unless a look finds it."""
        waits = [self._retries.wait_s(now), self._budget.wait_s()]
        return min([*waits, self._pace.wait_s()] if self._sweeps else waits)

    def store(self, now: float) -> None:
        """Store the corpus statistics of the vectors made since, and up to where everything is up to date."""
        self._store_at = now + _STORE_S
        self._mending.store_statistics()
        done = not (self._changed.waiting or self._sweeps or self._mending.incomplete)
        if done and self._places != self._stored:
            self._stored = dict(self._places)
            store_position(self.run.client, self.run.index, self._uuid, self._stored, self.run.fields)

    def _retry(self, now: float) -> bool:
        due = self._retries.due(now, _SLOW)
        if not due:
            return False
        asked = [Document(self.run.index, id, routing, Guard(0, 0), {}) for id, routing in due]
        found = [document for page in self._reader.again(asked) for document in page]
        for key in {*due} - {(document.id, document.routing) for document in found}:
            self._retries.mended(key)
        self._mending.do(found, self._mending.behind_or_failed, now, anew=True)
        return True

    def _sweep(self, now: float) -> bool:
        if not self._sweeps:
            return False
        allowed = self._pace.allowed(now) if self._pace.rate else self._most
        if not allowed:
            return False
        self._pace.spend(self._read(self._sweeps[0], self._mending.behind, now, allowed))
        if not self._sweeps[0].waiting:
            self._sweeps.popleft()
            if not self._sweeps:
                said = f"all looked through; {self.tally.written} documents written, {self.failed} failed"
                self._log("looked through", said, written=self.tally.written, failed=self.failed)
                self._store_at = now
        return True

    def _check_contents(self, now: float) -> bool:
        allowed = self._budget.allowed(now)
        if not allowed:
            return False
        if not self._contents.waiting:
            self._contents.add_all({number: place.checkpoint for number, place in self._places.items()})
            if not self._contents.waiting:
                self._budget.spend(allowed)
                return False
        counted = 0

        def checked(document: Document) -> list[Task]:
            nonlocal counted
            tasks = selected(document, self.run.fields, Selection(missing=False, contents=True))
            counted += sum(len(documents.inputs(document.source, task.field)) for task in tasks)
            return tasks

        self._read(self._contents, checked, now, allowed, anew=True)
        # A page of none is a search as well.
        self._budget.spend(max(counted, 1))
        return True

    def _read(self, segments: Segments, choose: Choose, now: float, allowed: int = 0, *, anew: bool = False) -> int:
        """Read the next portion of ``segments``, of at most ``allowed`` documents (0: as many as suit), and do what
        ``choose`` says; returns how many there were."""
        if self._unseen:
            self._refresh()
        segment = segments.waiting[0]
        size = min(self._portion.size, self._most, allowed or self._most)
        started = time.monotonic()
        page, up_to = self._reader.numbered(segment.shard, segment.after, segment.until, segments.query, size)
        self._mending.do(page, choose, now, anew=anew)
        # Only now: what can't be written is read again.
        segments.read_up_to(up_to)
        self._portion.took(len(page), time.monotonic() - started)
        return len(page)

    def _refresh(self) -> None:
        answer = self.run.client.indices.refresh(index=self.run.index)
        if answer["_shards"]["failed"]:
            raise ConnectionFailedError(f"{answer['_shards']['failed']} shards of {self.run.index} can't be refreshed")
        self._unseen = False

    def _log(self, event: str, said: str, **numbers: object) -> None:
        fields = {"event": event, "index": self.run.index, **numbers}
        _LOG.info("%s: %s", self.run.index, said, extra={"fields": fields})
