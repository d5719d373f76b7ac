"""Following several indices at once: looking for changes, giving each index its turn, and going on whatever happens."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from crosslens import stopping
from crosslens.errors import CrosslensError
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import choose, put_fields
from crosslens.ingest.contract.record import vector_fields
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import remember
from crosslens.ingest.run.run import Options, Run
from crosslens.ingest.run.sync.keeper import Keeper
from crosslens.ingest.run.sync.mending import Tally
from crosslens.ingest.run.sync.places import Places, read_places
from crosslens.ingest.run.sync.settings import IndexSettings, SyncSettings
from crosslens.ingest.run.sync.state import Shown, SyncState
from crosslens.retrying import patient
from crosslens.stopping import stoppable

_LOG = logging.getLogger("crosslens")
_EXPECTED = (CrosslensError, ApiError, TransportError, OSError)
_RESOLVE_S = 60.0
_SAY_S = 30.0
_LEAST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 60.0
_SLICE_S = 0.25


# What can fail: an index, a name that stands for some in the settings, or the cluster, by what it is and its name.
_Name = tuple[str, str]
_CLUSTER: _Name = ("cluster", "Elasticsearch")


@dataclass
class _Trouble:
    """Something that didn't work, and when it is tried again."""

    reason: str
    until: float
    pause: float = 1.0


@dataclass
class Follower:
    """Keeps the vectors of the indices in its ``settings`` fresh, until it is asked to stop.

    ``read`` gives the settings anew when `reload` was called; ``served`` is called with them whenever they are taken
    up. ``state`` shows how it stands, to other threads.
    """

    client: Elasticsearch
    settings: SyncSettings
    read: Callable[[], SyncSettings]
    state: SyncState
    served: Callable[[SyncSettings], None] = lambda _: None
    _keepers: dict[str, tuple[str, Keeper]] = field(default_factory=dict)
    _tallies: dict[str, Tally] = field(default_factory=dict)
    _troubles: dict[_Name, _Trouble] = field(default_factory=dict)
    _places: dict[str, Places] = field(default_factory=dict)
    _resolved: set[str] = field(default_factory=set)
    _reload: bool = False
    _look_at: float = 0.0
    _resolve_at: float = 0.0
    _said: dict[str, int] = field(default_factory=dict)
    _say_at: float = 0.0

    def __post_init__(self) -> None:
        self.client = patient(self.client)

    def reload(self, *_: object) -> None:
        """Read the settings again, soon; may be a signal's handler."""
        self._reload = True

    @stoppable
    def follow(self) -> None:
        """Follow, until a KeyboardInterrupt; then what was made is written, and it returns.

        Raises `ModelError` for models that can't be opened, and what ``served`` raises.
        """
        self._encoders = self._opened(self.settings)
        self.served(self.settings)
        names = [each.name for each in self.settings.index]
        _LOG.info("following %s", ", ".join(names), extra={"fields": {"event": "started", "indices": names}})
        try:
            while True:
                stopping.check()
                if not self._turn():
                    self._pause()
        except KeyboardInterrupt:
            pass
        finally:
            with stopping.shielded():
                for name in list(self._keepers):
                    self._drop(name)
            _LOG.info("ended; what is written stays", extra={"fields": {"event": "ended"}})

    def _turn(self) -> bool:
        """Look for changes if it is time, and give each index its turn; returns whether anything was done."""
        now = time.monotonic()
        self.state.beat = now
        if self._reload:
            self._reload = False
            self._take_up_settings()
        if now >= self._look_at and not self._resting(_CLUSTER, now):
            self._attempt(_CLUSTER, lambda: self._look(now))
        worked = False
        for name, (entry, keeper) in random.sample(list(self._keepers.items()), len(self._keepers)):
            stopping.check()
            if not (self._resting(("index", name), now) or ("entry", entry) in self._troubles):
                worked |= self._attempt(("index", name), partial(_step, keeper))
        self._show(time.monotonic())
        return worked

    def _attempt(self, name: _Name, work: Callable[[], bool]) -> bool:
        """Do something for ``name``; where that fails, it rests, each time twice as long."""
        try:
            worked = work()
        except _EXPECTED as error:
            self._note_trouble(name, error)
            return False
        if self._troubles.pop(name, None) is not None:
            _LOG.info("%s: goes on", name[1], extra={"fields": {"event": "goes on", "name": name[1]}})
        return worked

    def _note_trouble(self, name: _Name, error: Exception) -> None:
        before = self._troubles.get(name)
        pause = 1.0 if before is None else min(before.pause * 2, _LONGEST_PAUSE_S)
        until = time.monotonic() + pause * random.uniform(0.8, 1.2)
        self._troubles[name] = _Trouble(str(error), until, pause)
        self.state.errors += 1
        fields = {"event": "failed", "name": name[1], "pause_s": pause}
        _LOG.error("%s: %s; again in %.0f s", name[1], error, pause, extra={"fields": fields})

    def _resting(self, name: _Name, now: float) -> bool:
        return self._rest_s(name, now) > 0

    def _rest_s(self, name: _Name, now: float) -> float:
        trouble = self._troubles.get(name)
        return 0.0 if trouble is None else max(0.0, trouble.until - now)

    def _look(self, now: float) -> bool:
        """Ask how far the indices' operations go, and which indices there are where that may have changed."""
        # Followers that were started together don't look together.
        self._look_at = now + self.settings.look_s * random.uniform(0.8, 1.2)
        self._places = read_places(self.client, [each.name for each in self.settings.index])
        self.state.looks += 1
        if now >= self._resolve_at or self._places.keys() != self._resolved:
            self._resolve_at, self._resolved = now + _RESOLVE_S, set(self._places)
            self._resolve(now)
        for name, (_, keeper) in self._keepers.items():
            if name in self._places:
                keeper.look(self._places[name], now)
        return False

    def _resolve(self, now: float) -> None:
        """Find the indices behind each name, and how they are filled; keep those that are as they were."""
        found: set[str] = set()
        for each in self.settings.index:
            key = ("entry", each.name)
            if not self._resting(key, now):
                self._attempt(key, partial(self._take_up, each, found, now))
            if key in self._troubles:
                found |= {name for name, (entry, _) in self._keepers.items() if entry == each.name}
                self._resolve_at = min(self._resolve_at, self._troubles[key].until)
        for name in set(self._keepers) - found:
            self._drop(name)

    def _take_up(self, each: IndexSettings, found: set[str], now: float) -> bool:
        memory = self.settings.image_memory_mb
        images = replace(each.images, memory=None if memory is None else memory << 20)
        options = Options(images=images, workers=self.settings.workers)
        run = Run.begin(self.client, each.name, options)
        mappings = run.mappings()
        fields = choose(each.name, mappings, each.fields)
        for name, mapping in mappings.items():
            if name in found:
                continue
            if name not in self._places:
                # None of its shards is in use at the moment; what is known of them holds when they are.
                found |= {name} & self._keepers.keys()
                continue
            own = vector_fields(mapping)
            chosen = {field: own.get(field, fields[field]) for field in fields}
            if not chosen.keys() <= own.keys():
                put_fields(self.client, name, list(chosen.values()))
            found.add(name)
            self._keep(replace(run, index=name).making(chosen.values(), self._encoders, {name: mapping}), each, now)
        return False

    def _keep(self, run: Run, each: IndexSettings, now: float) -> None:
        places = self._places[run.index]
        there = self._keepers.get(run.index)
        if there is not None and there[1].fits(run, each, places.uuid):
            return
        if there is not None:
            self._drop(run.index)
        tally = self._tallies.setdefault(run.index, Tally())
        self._keepers[run.index] = each.name, Keeper(run, each, places, tally, now)

    def _drop(self, name: str) -> None:
        _, keeper = self._keepers.pop(name)
        self._troubles.pop(("index", name), None)
        try:
            keeper.store(time.monotonic())
        except _EXPECTED as error:
            _LOG.warning("%s: %s", name, error)

    def _take_up_settings(self) -> None:
        try:
            settings = self.read()
            encoders = self._encoders
            if _making(settings) != _making(self.settings):
                encoders = self._opened(settings)
            self.served(settings)
        except _EXPECTED as error:
            self.state.errors += 1
            fields = {"event": "not reloaded"}
            _LOG.error("the settings stay as they were: %s", error, extra={"fields": fields})
            return
        if encoders is not self._encoders:
            for name in list(self._keepers):
                self._drop(name)
        self.settings, self._encoders = settings, encoders
        self._troubles.clear()
        self._look_at = self._resolve_at = 0.0
        names = [each.name for each in settings.index]
        _LOG.info("reloaded; following %s", ", ".join(names), extra={"fields": {"event": "reloaded", "indices": names}})

    def _opened(self, settings: SyncSettings) -> Encoders:
        size, threads, device = settings.batch_size, settings.threads, settings.device
        given = [
            Encoder(Path(folder).expanduser(), batch_size=size, threads=threads, device=device)
            for folder in settings.models
        ]
        for each in given:
            remember(each.folder.path, each.fingerprint)
        cluster = self.client if settings.in_cluster else None
        return Encoders(given, batch_size=size, threads=threads, device=device, cluster=cluster)

    def _pause(self) -> None:
        """Wait until a look is due, or an index has something to do; a moment at least."""
        now = time.monotonic()
        waits = [max(self._look_at - now, self._rest_s(_CLUSTER, now))]
        for name, (entry, keeper) in self._keepers.items():
            rest = max(self._rest_s(("index", name), now), self._rest_s(("entry", entry), now))
            waits.append(max(keeper.wait_s(now), rest))
        end = now + max(min(waits), _LEAST_PAUSE_S)
        while (left := end - time.monotonic()) > 0 and not self._reload:
            self.state.beat = time.monotonic()
            stopping.pause(min(left, _SLICE_S))

    def _show(self, now: float) -> None:
        shown = {
            name: Shown.of(keeper, self._trouble_of(("index", name), ("entry", entry)))
            for name, (entry, keeper) in self._keepers.items()
        }
        troubles = {each.name: self._trouble_of(("entry", each.name)) for each in self.settings.index}
        self.state.indices = shown
        self.state.troubles = {name: reason for name, reason in troubles.items() if reason}
        if now >= self._say_at:
            self._say_at = now + _SAY_S
            for name, each in shown.items():
                if each.written != self._said.get(name):
                    self._said[name] = each.written
                    fields = {"event": "progress", "index": name, **each.numbers(now)}
                    said = f"{each.written} documents written, at most {each.behind} behind, {each.failed} failed"
                    _LOG.info("%s: %s", name, said, extra={"fields": fields})

    def _trouble_of(self, *names: _Name) -> str:
        return next((self._troubles[name].reason for name in (*names, _CLUSTER) if name in self._troubles), "")


def _step(keeper: Keeper) -> bool:
    return keeper.step(time.monotonic())


def _making(settings: SyncSettings) -> tuple[object, ...]:
    """What encoders depend on."""
    return settings.models, settings.in_cluster, settings.batch_size, settings.threads, settings.device
