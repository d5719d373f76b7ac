package org.crosslens.server.work;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.encode.ModelFolder;

/**
 * What lies in the folders of models, read once for each of their states. Reading may hash gigabytes; concurrent callers
 * wait for the one that reads, and nobody for a lock.
 */
final class Folders {

    private static final Logger LOG = LogManager.getLogger(Folders.class);
    /** Failures for other reasons than the folder's content, such as read errors, are retried after so long. */
    private static final long RETRY_MILLIS = 10_000;

    private final List<Path> roots;
    private final LongSupplier clock;
    private final Object lock;
    private final Consumer<Entry> replaced;
    // Both guarded by the lock.
    private final Map<String, Entry> entries = new HashMap<>();
    private final Map<String, Reading> reading = new HashMap<>();

    /** A folder that some thread is reading, as it was then. */
    private record Reading(String stamp, CompletableFuture<Entry> done) {}

    /**
     * In {@code roots}, of which an earlier one hides what is called the same in a later one. {@code replaced} gets what was
     * read of a folder's earlier state, with the {@code lock} held.
     */
    Folders(List<Path> roots, LongSupplier clock, Object lock, Consumer<Entry> replaced) {
        this.roots = List.copyOf(roots);
        this.clock = clock;
        this.lock = lock;
        this.replaced = replaced;
    }

    /** The paths of all that look like models, below their roots. */
    List<String> directories() {
        return roots.stream().flatMap(root -> Directories.of(root).stream()).distinct().toList();
    }

    private Path path(String directory) {
        for (Path root : roots) {
            if (ModelFolder.isModel(root.resolve(directory))) {
                return root.resolve(directory);
            }
        }
        return roots.get(0).resolve(directory);
    }

    /** Forgets a folder that was taken away; the lock must be held. */
    void forget(String directory) {
        Entry before = entries.remove(directory);
        if (before != null) {
            replaced.accept(before);
        }
    }

    /** What was last read of a folder, or null; the lock must be held. */
    Entry last(String directory) {
        return entries.get(directory);
    }

    /** Calls {@code each} for all that was read; the lock must be held. */
    void forEach(Consumer<Entry> each) {
        entries.values().forEach(each);
    }

    /** Forgets all; the lock must be held. */
    void clear() {
        entries.clear();
    }

    /** Whether the folder still is as it was when {@code entry} was read. */
    boolean isUnchanged(Entry entry) {
        return stamp(entry.directory).equals(entry.stamp);
    }

    private String stamp(String directory) {
        return Directories.stamp(path(directory));
    }

    /** What was read of the folder's present state, or null where that would have to be read. */
    Entry known(String directory) {
        return known(directory, stamp(directory));
    }

    private Entry known(String directory, String stamp) {
        Entry known;
        synchronized (lock) {
            known = entries.get(directory);
        }
        boolean passing = known != null && known.error != null && known.error.getCause() != null;
        boolean stale = passing && clock.getAsLong() - known.failed >= RETRY_MILLIS;
        return known != null && known.stamp.equals(stamp) && stale == false ? known : null;
    }

    /** Return the folder's present content, read by this thread or by another that is waited for. */
    Entry read(String directory) {
        Path path = path(directory);
        String stamp = Directories.stamp(path);
        Reading others, mine = new Reading(stamp, new CompletableFuture<>());
        synchronized (lock) {
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
        synchronized (lock) {
            Entry before = entries.put(directory, fresh);
            reading.remove(directory, mine);
            if (before != null) {
                replaced.accept(before);
            }
        }
        mine.done.complete(fresh);
        return fresh;
    }

    /** Return {@code entry}, unless it can't be used. Throws {@link ModelException}. */
    Entry usable(Entry entry) {
        if (entry.error != null) {
            throw shown(entry.error);
        }
        return entry;
    }

    /**
     * The error as its requester may see it. It has no cause, whose sentence would be shown as well; the node's log has
     * both.
     */
    ModelException shown(ModelException error) {
        return new ModelException(shown(error.getMessage()));
    }

    /** Return {@code message} with paths from the models' folder on: where that lies is the operator's business. */
    String shown(String message) {
        String shown = message;
        for (Path root : message == null ? List.<Path>of() : roots) {
            shown = shown.replace(root + root.getFileSystem().getSeparator(), "").replace(root.toString(), "the folder of models");
        }
        return shown;
    }
}
