package org.crosslens.server.share;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.wire.Peers;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.tasks.TaskCancelledException;

/**
 * Brings the shared models of this node up to date with those of the cluster: takes what it lacks, and takes away what the
 * cluster no longer has. One at a time, whoever asks; a node that was away, or whose disk was full, does so by itself.
 */
final class Syncing {

    private static final Logger LOG = LogManager.getLogger(Syncing.class);
    /** How old the last look may be before the next one that nobody asks for, and how old a failure. */
    private static final long EVERY_MILLIS = 30_000, RETRY_MILLIS = 600_000;

    private final Peers peers;
    private final Store store;
    private final Depot depot;
    private final Staging staging;
    private final Own own;
    private final Consumer<String> removed;
    private final Executor executor;
    private final LongSupplier clock;
    private final Map<String, Failure> failures = new ConcurrentHashMap<>();
    // All guarded by this.
    private final Map<String, Path> staged = new TreeMap<>();
    private List<ActionListener<Void>> waiting = new ArrayList<>();
    private boolean running;
    private boolean retry;
    private boolean closed;
    private long done = Long.MIN_VALUE;

    private record Failure(String upload, String reason, long at) {}

    /** {@code removed} gets the name of one that was taken away. */
    Syncing(
        Peers peers,
        Store store,
        Depot depot,
        Staging staging,
        Own own,
        Consumer<String> removed,
        Executor executor,
        LongSupplier clock
    ) {
        this.peers = peers;
        this.store = store;
        this.depot = depot;
        this.staging = staging;
        this.own = own;
        this.removed = removed;
        this.executor = executor;
        this.clock = clock;
    }

    /** Does it again if that was long ago or never succeeded; called now and then. */
    void tick() {
        synchronized (this) {
            if (running || done != Long.MIN_VALUE && clock.getAsLong() - done < EVERY_MILLIS) {
                return;
            }
        }
        run(
            false,
            ActionListener.wrap(nothing -> {}, e -> LOG.debug("the cluster's models can't be looked up yet", e))
        );
    }

    /** Answers once all is up to date as of this call. {@code retry}: models that failed lately as well. */
    void run(boolean retry, ActionListener<Void> listener) {
        synchronized (this) {
            waiting.add(listener);
            this.retry |= retry;
            if (running) {
                return;
            }
            running = true;
        }
        try {
            executor.execute(this::loop);
        } catch (RuntimeException e) {
            List<ActionListener<Void>> all = taken();
            synchronized (this) {
                running = false;
            }
            ActionListener.onFailure(all, e);
        }
    }

    private synchronized List<ActionListener<Void>> taken() {
        List<ActionListener<Void>> all = waiting;
        waiting = new ArrayList<>();
        running = all.isEmpty() == false;
        return all;
    }

    private void loop() {
        for (List<ActionListener<Void>> all = taken(); all.isEmpty() == false; all = taken()) {
            boolean again;
            synchronized (this) {
                again = retry;
                retry = false;
            }
            try {
                reconcile(again);
                synchronized (this) {
                    done = clock.getAsLong();
                }
                ActionListener.onResponse(all, null);
            } catch (IOException | RuntimeException e) {
                ActionListener.onFailure(all, e);
            }
        }
    }

    private void reconcile(boolean again) throws IOException {
        if (peers.areKnown() == false) {
            // A cluster whose state isn't there yet seems to have no models.
            throw new IllegalStateException("the node hasn't joined its cluster");
        }
        Map<String, String> published = new TreeMap<>();
        Set<String> pending = new HashSet<>();
        for (Store.Listed each : store.list()) {
            if (each.state() == Store.State.PUBLISHED) {
                published.put(each.name(), each.upload());
            } else if (each.state() == Store.State.PENDING) {
                pending.add(each.upload());
            }
        }
        for (Map.Entry<String, String> each : depot.installed().entrySet()) {
            if (each.getValue().equals(published.get(each.getKey()))) {
                published.remove(each.getKey());
            } else {
                depot.remove(each.getKey());
                removed.accept(each.getKey());
                LOG.info("removed model [{}], which was deleted from the cluster", each.getKey());
            }
        }
        failures.keySet().retainAll(published.keySet());
        published.forEach((name, upload) -> {
            Failure last = failures.get(name);
            boolean lately = last != null && last.upload.equals(upload) && clock.getAsLong() - last.at < RETRY_MILLIS;
            if (own.has(name) == false && (again || lately == false)) {
                install(name, upload);
            }
        });
        drop(pending);
    }

    /** Deletes what was staged for nothing; what is {@code pending} may be published any moment. */
    private void drop(Set<String> pending) throws IOException {
        List<Path> unused = new ArrayList<>();
        synchronized (this) {
            for (String upload : List.copyOf(staged.keySet())) {
                if (pending.contains(upload) == false) {
                    unused.add(staged.remove(upload));
                }
            }
        }
        for (Path each : unused) {
            Depot.delete(each);
        }
    }

    private void install(String name, String upload) {
        try {
            Path ready = takeBack(upload), folder = ready != null ? ready : staging.stage(manifest(name), wanted());
            try {
                depot.install(folder, name, upload);
            } catch (IOException e) {
                Depot.delete(folder);
                throw e;
            }
            failures.remove(name);
            LOG.info("installed model [{}], which the cluster was given", name);
        } catch (IOException | RuntimeException e) {
            failures.put(name, new Failure(upload, String.valueOf(e.getMessage()), clock.getAsLong()));
            LOG.warn("model [" + name + "], which the cluster was given, can't be installed", e);
        }
    }

    private Manifest manifest(String name) {
        Store.Kept kept = store.get(name);
        if (kept == null) {
            throw Claims.gone(name);
        }
        return kept.manifest();
    }

    private Wanted wanted() {
        return new Wanted(null, null, Long.MAX_VALUE, clock, (millis, what) -> {}) {
            @Override
            public RuntimeException ended() {
                synchronized (Syncing.this) {
                    return closed ? new TaskCancelledException("the node is closing") : null;
                }
            }
        };
    }

    /** Makes a {@code folder} that was staged and checked here serve for {@code upload}, once that is published. */
    synchronized void keep(String upload, Path folder) {
        staged.put(upload, folder);
    }

    /** Takes back what {@link #keep} got, unless it was used: null. */
    synchronized Path takeBack(String upload) {
        return staged.remove(upload);
    }

    /** How this node stands with a model. */
    SyncMessages.Response standing(String name) throws IOException {
        if (own.has(name)) {
            return Own.standing();
        }
        if (depot.installed().containsKey(name)) {
            return new SyncMessages.Response(Standing.INSTALLED, null);
        }
        Failure failure = failures.get(name);
        return failure == null
            ? new SyncMessages.Response(Standing.ABSENT, null)
            : new SyncMessages.Response(Standing.FAILED, failure.reason);
    }

    /** Ends what is being done. */
    synchronized void close() {
        closed = true;
    }
}
