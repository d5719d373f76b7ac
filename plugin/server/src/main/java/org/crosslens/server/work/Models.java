package org.crosslens.server.work;

import java.io.Closeable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
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
 * The models in this node's configuration folder, {@code config/crosslens/NAME/} or {@code config/crosslens/GROUP/NAME/},
 * and those that the cluster has been given: read when first asked for, loaded when first used, shared between threads, and unloaded when idle. A folder that was
 * changed is read again.
 *
 * <p>Reading may hash gigabytes, and loading reads them again. Both run on the {@code loader}'s threads, once for all
 * concurrent requests, without holding a lock that others need. A folder that failed is not tried again until it changes.
 */
public final class Models implements Closeable {

    private static final Logger LOG = LogManager.getLogger(Models.class);
    /** A recent look-up is reused for so long: the documents of a bulk needn't each look. */
    private static final long FRESH_MILLIS = 1_000;

    private final Encoder.Compute compute;
    private final long idleMillis;
    private final LongSupplier clock;
    private final Folders folders;
    private final Once<Wish> once;
    // All guarded by this, which is held for moments only.
    private final Map<String, Resolved> resolved = new HashMap<>();

    /**
     * In {@code roots}, which need not exist; of two models with one name that in the earlier root counts. Models unused for
     * {@code idleMillis} by the {@code clock} are unloaded.
     */
    public Models(List<Path> roots, Encoder.Compute compute, long idleMillis, LongSupplier clock, Executor loader) {
        this.compute = compute;
        this.idleMillis = idleMillis;
        this.clock = clock;
        this.folders = new Folders(roots, clock, this, this::replaced);
        this.once = new Once<>(loader, this::carryOut);
    }

    /** A model folder as last read: {@code folder}, or the {@code error} that it can't be used for. */
    public record Listed(String directory, ModelFolder folder, String error, boolean loaded) {}

    /** The directory that a name meant among others, when it was last looked up. */
    private record Resolved(String directory, List<String> among, long at) {}

    private record Wish(String name, Encoder.Use use) {}

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
        for (String directory : folders.directories()) {
            try {
                Entry entry = folders.read(directory);
                String error = entry.error == null ? null : folders.shown(entry.error.getMessage());
                found.add(new Listed(directory, error == null ? entry.folder : null, error, entry.encoder != null));
            } catch (RuntimeException e) {
                // A damaged folder is listed with what is wrong with it, beside those that work.
                found.add(new Listed(directory, null, folders.shown(e.getMessage()), false));
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
        return folders.usable(resolve(name)).folder;
    }

    /** Finds a model without blocking the caller's thread; answers at once where it was looked up a moment ago. */
    public void find(String name, ActionListener<ModelFolder> listener) {
        Entry known;
        synchronized (this) {
            Resolved last = resolved.get(name);
            known = last == null || clock.getAsLong() - last.at >= FRESH_MILLIS ? null : folders.last(last.directory);
        }
        if (known != null && known.isNamed(name) && known.error == null) {
            listener.onResponse(known.folder);
        } else {
            once.run(new Wish(name, null), listener.delegateFailureAndWrap((next, ignored) -> next.onResponse(find(name))));
        }
    }

    /**
     * As {@link #find(String, ActionListener)}, for a search of vectors of that fingerprint: where the model that made them
     * isn't here, answers with one whose queries may be compared with them, the first by its directory's name.
     */
    public void findSearching(String fingerprint, ActionListener<ModelFolder> listener) {
        find(fingerprint, listener.delegateResponse((next, e) -> {
            // All folders have just been read, looking for the other.
            ModelFolder twin = e instanceof NoModelException ? searching(fingerprint) : null;
            if (twin == null) {
                next.onFailure(e);
            } else {
                next.onResponse(twin);
            }
        }));
    }

    private ModelFolder searching(String fingerprint) {
        for (String directory : folders.directories()) {
            Entry known = folders.known(directory);
            if (known != null && known.error == null && known.folder.searches().contains(fingerprint)) {
                return known.folder;
            }
        }
        return null;
    }

    private void carryOut(Wish wish) {
        Entry entry = folders.usable(resolve(wish.name));
        if (wish.use != null) {
            load(entry, wish.use);
        }
    }

    private Entry resolve(String name) {
        List<String> directories = folders.directories();
        Entry found = null;
        if (name == null) {
            found = directories.size() == 1 ? folders.read(directories.get(0)) : null;
        } else if (directories.contains(name)) {
            found = folders.read(name);
        } else {
            // Look among known folders first: others may take long to read.
            for (String directory : directories) {
                Entry known = folders.known(directory);
                found = found == null && known != null && known.isNamed(name) ? known : found;
            }
            for (int i = 0; found == null && i < directories.size(); i++) {
                Entry entry = folders.read(directories.get(i));
                found = entry.isNamed(name) ? entry : null;
            }
        }
        if (found == null) {
            String names = directories.stream().map(each -> each + (folders.read(each).error == null ? "" : " (damaged)")).collect(Collectors.joining(", "));
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

    private static String hint() {
        return "; put a folder made by `crosslens export` into crosslens/ in the configuration folder of every node";
    }

    /** Loads the model that {@code name} means, unless it is. Throws as {@link #find} does. */
    public Lease lease(String name, Encoder.Use use) {
        Entry entry = folders.usable(resolve(name));
        load(entry, use);
        return leased(entry);
    }

    /** Leases the model if it is loaded and unchanged, else returns null; {@link #load} then loads it in the background. */
    public Lease leaseIfLoaded(String name, Encoder.Use use) {
        Resolved last;
        Entry entry;
        synchronized (this) {
            last = resolved.get(name);
            entry = last == null ? null : folders.last(last.directory);
        }
        if (entry == null || entry.isNamed(name) == false || entry.error != null || folders.isUnchanged(entry) == false) {
            return null;
        }
        if (clock.getAsLong() - last.at >= FRESH_MILLIS) {
            if (folders.directories().equals(last.among) == false) {
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
        once.run(new Wish(name, use), listener);
    }

    /** Unloads a model whose folder was taken away, once nobody uses it. */
    public synchronized void forget(String directory) {
        resolved.values().removeIf(each -> each.directory.equals(directory));
        folders.forget(directory);
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
                    folders.usable(entry);
                    encoder = new Encoder(entry.folder, compute);
                }
                if (encoder.isReadyFor(use) == false) {
                    encoder.load(use);
                    LOG.info("loaded model [{}] ({}) in {} ms", entry.directory, entry.folder.fingerprint(), clock.getAsLong() - start);
                }
                if (folders.isUnchanged(entry) == false) {
                    if (entry.encoder == null) {
                        encoder.close();
                    }
                    throw new ModelException(entry.folder.path() + " was changed while it was being loaded; try again");
                }
                entry.encoder = encoder;
            }
        } catch (ModelException e) {
            if (folders.isUnchanged(entry)) {
                entry.failed = clock.getAsLong();
                entry.error = e;
            }
            LOG.warn("model [" + entry.directory + "] can't be loaded", e);
            throw folders.shown(e);
        }
    }

    /** Unloads what hasn't been used for long enough. */
    public synchronized void unloadIdle() {
        folders.forEach(entry -> {
            if (entry.encoder != null && entry.users == 0 && clock.getAsLong() - entry.used >= idleMillis) {
                unload(entry);
                LOG.info("unloaded model [{}], unused for {} ms", entry.directory, idleMillis);
            }
        });
    }

    /** Unloads what a changed folder held before, once nobody uses it. */
    private void replaced(Entry entry) {
        entry.outdated = true;
        if (entry.users == 0) {
            unload(entry);
        }
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

    @Override
    public synchronized void close() {
        folders.forEach(Models::unload);
        folders.clear();
    }
}
