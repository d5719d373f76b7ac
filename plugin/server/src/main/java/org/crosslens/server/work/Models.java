package org.crosslens.server.work;

import java.io.Closeable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.encode.ModelFolder;
import org.elasticsearch.action.ActionListener;

/**
 * The models in this node's configuration folder, {@code config/crosslens/NAME/} or {@code config/crosslens/GROUP/NAME/}:
 * read when first asked for, loaded when first used, shared between threads, and unloaded when idle. A folder that was
 * changed is read again.
 *
 * <p>Reading may hash gigabytes, and loading reads them again. Both run on the {@code loader}'s threads, once for all
 * concurrent requests, without holding a lock that others need. A folder that failed is not tried again until it changes.
 */
public final class Models implements Closeable {

    private static final Logger LOG = LogManager.getLogger(Models.class);
    /** A recent look-up is reused for so long: the documents of a bulk needn't each look. */
    private static final long FRESH_MILLIS = 1_000;
    /** Failures for other reasons than the folder's content, such as read errors, are retried after so long. */
    private static final long RETRY_MILLIS = 10_000;

    private final Path root;
    private final int threads;
    private final long idleMillis;
    private final LongSupplier clock;
    private final Executor loader;
    // All guarded by this, which is held for moments only.
    private final Map<String, Entry> entries = new HashMap<>();
    private final Map<String, Reading> reading = new HashMap<>();
    private final Map<String, Resolved> resolved = new HashMap<>();
    private final Map<Wish, List<ActionListener<Void>>> loading = new HashMap<>();

    /** {@code root} need not exist; models unused for {@code idleMillis} by the {@code clock} are unloaded. */
    public Models(Path root, int threads, long idleMillis, LongSupplier clock, Executor loader) {
        this.root = root;
        this.threads = threads;
        this.idleMillis = idleMillis;
        this.clock = clock;
        this.loader = loader;
    }

    /** A model folder as last read: {@code folder}, or the {@code error} that it can't be used for. */
    public record Listed(String directory, ModelFolder folder, String error, boolean loaded) {}

    /** The directory that a name meant among others, when it was last looked up. */
    private record Resolved(String directory, List<String> among, long at) {}

    /** A folder that some thread is reading, as it was then. */
    private record Reading(String stamp, CompletableFuture<Entry> done) {}

    private record Wish(String name, Encoder.Use use) {}

    /** What was read of a folder, or why it can't be used; and the encoder while it is loaded. */
    private static final class Entry {

        final String directory;
        final String stamp;
        final ModelFolder folder;
        // Set when reading or loading failed, and when.
        volatile ModelException error;
        volatile long failed;
        volatile Encoder encoder;
        int users;
        long used;
        boolean outdated;

        Entry(String directory, String stamp, long at, ModelFolder folder, ModelException error) {
            this.directory = directory;
            this.stamp = stamp;
            this.failed = at;
            this.folder = folder;
            this.error = error;
        }

        boolean isNamed(String name) {
            return name == null || directory.equals(name) || folder != null && (folder.name().equals(name) || folder.fingerprint().equals(name));
        }
    }

    /** The right to use an encoder, which isn't unloaded until the lease is closed. */
    public final class Lease implements Closeable {

        private final Entry entry;
        private boolean closed;

        private Lease(Entry entry) {
            this.entry = entry;
        }

        public Encoder encoder() {
            return entry.encoder;
        }

        @Override
        public void close() {
            synchronized (Models.this) {
                if (closed == false) {
                    closed = true;
                    release(entry);
                }
            }
        }
    }

    /** Every folder that looks like a model, by its directory's name, as they are now. Reads what has changed. */
    public List<Listed> list() {
        List<Listed> found = new ArrayList<>();
        for (String directory : Directories.of(root)) {
            try {
                Entry entry = read(directory);
                String error = entry.error == null ? null : shown(entry.error.getMessage());
                found.add(new Listed(directory, error == null ? entry.folder : null, error, entry.encoder != null));
            } catch (RuntimeException e) {
                // A damaged folder is listed with what is wrong with it, beside those that work.
                found.add(new Listed(directory, null, shown(e.getMessage()), false));
            }
        }
        return found;
    }

    /**
     * The model that {@code name} means: a directory's name, else the name or the fingerprint in a model's manifest; null
     * means the only one there is. Reads what has changed.
     *
     * <p>Throws {@link NoModelException} or, where several are meant, {@link IllegalArgumentException}, that name the models
     * there are; or {@link ModelException}.
     */
    public ModelFolder find(String name) {
        return usable(resolve(name)).folder;
    }

    /** Finds a model without blocking the caller's thread; answers at once where it was looked up a moment ago. */
    public void find(String name, ActionListener<ModelFolder> listener) {
        Entry known;
        synchronized (this) {
            Resolved last = resolved.get(name);
            known = last == null || clock.getAsLong() - last.at >= FRESH_MILLIS ? null : entries.get(last.directory);
        }
        if (known != null && known.isNamed(name) && known.error == null) {
            listener.onResponse(known.folder);
        } else {
            once(new Wish(name, null), listener.delegateFailureAndWrap((next, ignored) -> next.onResponse(find(name))));
        }
    }

    /** Carries a wish out on the loader's threads, once for all concurrent wishes that are equal. */
    private void once(Wish wish, ActionListener<Void> listener) {
        synchronized (this) {
            List<ActionListener<Void>> others = loading.get(wish);
            if (others != null) {
                others.add(listener);
                return;
            }
            loading.put(wish, new ArrayList<>(List.of(listener)));
        }
        try {
            loader.execute(() -> carryOut(wish));
        } catch (RuntimeException e) {
            answered(wish).forEach(each -> each.onFailure(e));
        }
    }

    private void carryOut(Wish wish) {
        Exception failure = null;
        try {
            Entry entry = usable(resolve(wish.name));
            if (wish.use != null) {
                load(entry, wish.use);
            }
        } catch (Exception | LinkageError e) {
            failure = e instanceof Exception exception ? exception : new IllegalStateException("a library can't be loaded", e);
        }
        Exception cause = failure;
        for (ActionListener<Void> listener : answered(wish)) {
            try {
                if (cause == null) {
                    listener.onResponse(null);
                } else {
                    listener.onFailure(cause);
                }
            } catch (RuntimeException e) {
                // One caller's bug must not leave the others without an answer.
                LOG.error("a listener of crosslens failed", e);
            }
        }
    }

    private synchronized List<ActionListener<Void>> answered(Wish wish) {
        return loading.remove(wish);
    }

    private Entry resolve(String name) {
        List<String> directories = Directories.of(root);
        Entry found = null;
        if (name == null) {
            found = directories.size() == 1 ? read(directories.get(0)) : null;
        } else if (directories.contains(name)) {
            found = read(name);
        } else {
            // Look among known folders first: others may take long to read.
            for (String directory : directories) {
                Entry known = known(directory, Directories.stamp(root.resolve(directory)));
                found = found == null && known != null && known.isNamed(name) ? known : found;
            }
            for (int i = 0; found == null && i < directories.size(); i++) {
                Entry entry = read(directories.get(i));
                found = entry.isNamed(name) ? entry : null;
            }
        }
        if (found == null) {
            String names = directories.stream().map(each -> each + (read(each).error == null ? "" : " (damaged)")).collect(Collectors.joining(", "));
            if (name == null && directories.isEmpty() == false) {
                throw new IllegalArgumentException("say which [model]: this node has " + names);
            }
            String others = directories.isEmpty() ? "" : "; it has " + names;
            throw new NoModelException("this node has no model" + (name == null ? "" : " [" + name + "]") + others + hint());
        }
        synchronized (this) {
            if (resolved.size() > 1_000) {
                resolved.clear();
            }
            resolved.put(name, new Resolved(found.directory, directories, clock.getAsLong()));
        }
        return found;
    }

    private Entry usable(Entry entry) {
        if (entry.error != null) {
            throw shown(entry.error);
        }
        return entry;
    }

    /**
     * The error as its requester may see it. It has no cause, whose sentence would be shown as well; the node's log has
     * both.
     */
    private ModelException shown(ModelException error) {
        return new ModelException(shown(error.getMessage()));
    }

    /** Return {@code message} with paths from the models' folder on: where that lies is the operator's business. */
    private String shown(String message) {
        return message == null ? null : message.replace(root + root.getFileSystem().getSeparator(), "").replace(root.toString(), "the folder of models");
    }

    private static String hint() {
        return "; put a folder made by `crosslens export` into crosslens/ in the configuration folder of every node";
    }

    /** Loads the model that {@code name} means, unless it is. Throws as {@link #find} does. */
    public Lease lease(String name, Encoder.Use use) {
        Entry entry = usable(resolve(name));
        load(entry, use);
        return leased(entry);
    }

    /** Leases the model if it is loaded and unchanged, else returns null; {@link #load} then loads it in the background. */
    public Lease leaseIfLoaded(String name, Encoder.Use use) {
        Resolved last;
        Entry entry;
        synchronized (this) {
            last = resolved.get(name);
            entry = last == null ? null : entries.get(last.directory);
        }
        if (entry == null || entry.isNamed(name) == false || entry.error != null || Directories.stamp(root.resolve(entry.directory)).equals(entry.stamp) == false) {
            return null;
        }
        if (clock.getAsLong() - last.at >= FRESH_MILLIS) {
            if (Directories.of(root).equals(last.among) == false) {
                return null;
            }
            synchronized (this) {
                resolved.put(name, new Resolved(last.directory, last.among, clock.getAsLong()));
            }
        }
        Lease lease = leased(entry);
        Encoder encoder = entry.encoder;
        if (encoder != null && encoder.isReadyFor(use)) {
            return lease;
        }
        lease.close();
        return null;
    }

    /** Loads what {@code name} means for {@code use} on the loader's threads, then answers. */
    public void load(String name, Encoder.Use use, ActionListener<Void> listener) {
        once(new Wish(name, use), listener);
    }

    private synchronized Lease leased(Entry entry) {
        entry.users++;
        return new Lease(entry);
    }

    private void load(Entry entry, Encoder.Use use) {
        Lease lease = leased(entry);
        // Others may go on meanwhile: reading a large model and checking its hashes takes seconds.
        try (lease) {
            synchronized (entry) {
                long start = clock.getAsLong();
                Encoder encoder = entry.encoder;
                if (encoder == null) {
                    usable(entry);
                    encoder = new Encoder(entry.folder, threads);
                }
                if (encoder.isReadyFor(use) == false) {
                    encoder.load(use);
                    LOG.info("loaded model [{}] ({}) in {} ms", entry.directory, entry.folder.fingerprint(), clock.getAsLong() - start);
                }
                if (Directories.stamp(root.resolve(entry.directory)).equals(entry.stamp) == false) {
                    if (entry.encoder == null) {
                        encoder.close();
                    }
                    throw new ModelException(entry.folder.path() + " was changed while it was being loaded; try again");
                }
                entry.encoder = encoder;
            }
        } catch (ModelException e) {
            if (Directories.stamp(root.resolve(entry.directory)).equals(entry.stamp)) {
                entry.failed = clock.getAsLong();
                entry.error = e;
            }
            LOG.warn("model [" + entry.directory + "] can't be loaded", e);
            throw shown(e);
        }
    }

    /** Unloads what hasn't been used for long enough. */
    public synchronized void unloadIdle() {
        entries.forEach((directory, entry) -> {
            if (entry.encoder != null && entry.users == 0 && clock.getAsLong() - entry.used >= idleMillis) {
                unload(entry);
                LOG.info("unloaded model [{}], unused for {} ms", directory, idleMillis);
            }
        });
    }

    private void release(Entry entry) {
        entry.users--;
        entry.used = clock.getAsLong();
        if (entry.users == 0 && entry.outdated) {
            unload(entry);
        }
    }

    private static void unload(Entry entry) {
        Encoder encoder = entry.encoder;
        entry.encoder = null;
        if (encoder != null) {
            encoder.close();
        }
    }

    private synchronized Entry known(String directory, String stamp) {
        Entry known = entries.get(directory);
        boolean passing = known != null && known.error != null && known.error.getCause() != null;
        boolean stale = passing && clock.getAsLong() - known.failed >= RETRY_MILLIS;
        return known != null && known.stamp.equals(stamp) && stale == false ? known : null;
    }

    /** Return the folder's present content, read by this thread or by another that is waited for. */
    private Entry read(String directory) {
        Path path = root.resolve(directory);
        String stamp = Directories.stamp(path);
        Reading others, mine = new Reading(stamp, new CompletableFuture<>());
        synchronized (this) {
            Entry known = known(directory, stamp);
            if (known != null) {
                return known;
            }
            others = reading.get(directory);
            if (others == null || others.stamp.equals(stamp) == false) {
                others = null;
                reading.put(directory, mine);
            }
        }
        if (others != null) {
            return others.done.join();
        }
        Entry fresh;
        try {
            fresh = new Entry(directory, stamp, clock.getAsLong(), ModelFolder.open(path), null);
        } catch (RuntimeException e) {
            ModelException error = e instanceof ModelException known ? known : new ModelException(path + " can't be read (" + e.getMessage() + ")", e);
            fresh = new Entry(directory, stamp, clock.getAsLong(), null, error);
            LOG.warn("model [" + directory + "] can't be read", error);
        }
        if (fresh.error == null && Directories.stamp(path).equals(stamp) == false) {
            fresh = new Entry(directory, "", clock.getAsLong(), null, new ModelException(path + " was changed while it was being read; try again"));
        }
        synchronized (this) {
            Entry before = entries.put(directory, fresh);
            reading.remove(directory, mine);
            if (before != null) {
                before.outdated = true;
                if (before.users == 0) {
                    unload(before);
                }
            }
        }
        mine.done.complete(fresh);
        return fresh;
    }

    @Override
    public synchronized void close() {
        entries.values().forEach(Models::unload);
        entries.clear();
    }
}
