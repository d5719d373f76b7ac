package org.crosslens.server.work;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.encode.ModelFolder;

/**
 * The models in this node's configuration folder, {@code config/crosslens/NAME/} or {@code config/crosslens/GROUP/NAME/}:
 * read when first asked for, loaded when first used, shared between threads, and unloaded when idle. A folder that was
 * changed is read again.
 */
public final class Models implements Closeable {

    private static final Logger LOG = LogManager.getLogger(Models.class);
    private static final long SEEN_MILLIS = 1_000;

    private final Path root;
    private final int threads;
    private final long idleMillis;
    private final LongSupplier clock;
    private final Map<String, Entry> entries = new HashMap<>();
    private volatile Seen seen = new Seen(List.of(), 0);

    /** {@code root} need not exist; models unused for {@code idleMillis} by the {@code clock} are unloaded. */
    public Models(Path root, int threads, long idleMillis, LongSupplier clock) {
        this.root = root;
        this.threads = threads;
        this.idleMillis = idleMillis;
        this.clock = clock;
    }

    /** A model folder as last read: {@code folder}, or the {@code error} that it can't be used for. */
    public record Listed(String directory, ModelFolder folder, String error, boolean loaded) {}

    /** What the folders were a moment ago: a bulk's documents needn't each look. */
    private record Seen(List<Listed> models, long at) {}

    /** What was read of a folder, and the encoder while it is loaded, which its users see to one after the other. */
    private static final class Entry {

        final String stamp;
        final ModelFolder folder;
        volatile Encoder encoder;
        int users;
        long used;
        boolean outdated;

        Entry(String stamp, ModelFolder folder) {
            this.stamp = stamp;
            this.folder = folder;
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

    /** Every folder that looks like a model, by its directory's name, as they are now. */
    public List<Listed> list() {
        List<Listed> found = new ArrayList<>();
        for (String directory : directories()) {
            try {
                ModelFolder folder = read(directory);
                synchronized (this) {
                    Entry entry = entries.get(directory);
                    found.add(new Listed(directory, folder, null, entry != null && entry.encoder != null));
                }
            } catch (RuntimeException e) {
                // A damaged folder is listed with what is wrong with it, beside those that work.
                found.add(new Listed(directory, null, e.getMessage(), false));
            }
        }
        seen = new Seen(List.copyOf(found), clock.getAsLong());
        return found;
    }

    /**
     * The model that {@code name} means: a directory's name, else the name or the fingerprint in a model's manifest; null
     * means the only one there is.
     *
     * <p>Throws {@link IllegalArgumentException} that names the models there are, or {@link ModelException}.
     */
    public ModelFolder find(String name) {
        Listed found = listed(name);
        return found.folder() != null ? found.folder() : read(found.directory());
    }

    /** What {@code name} means by what was seen a moment ago, else by what is there now. */
    private Listed listed(String name) {
        Seen last = seen;
        Listed known = clock.getAsLong() - last.at < SEEN_MILLIS ? among(last.models, name) : null;
        if (known != null) {
            return known;
        }
        List<Listed> now = list();
        Listed found = among(now, name);
        if (found != null) {
            return found;
        }
        if (name == null && now.isEmpty() == false) {
            throw new IllegalArgumentException("say which [model]: this node has " + names(now));
        }
        String others = now.isEmpty() ? "" : "; it has " + names(now);
        throw new IllegalArgumentException("this node has no model" + (name == null ? "" : " [" + name + "]") + others + hint());
    }

    private static Listed among(List<Listed> models, String name) {
        if (name == null) {
            return models.size() == 1 ? models.get(0) : null;
        }
        for (Listed each : models) {
            if (each.directory().equals(name)) {
                return each;
            }
        }
        for (Listed each : models) {
            ModelFolder folder = each.folder();
            if (folder != null && (folder.name().equals(name) || folder.fingerprint().equals(name))) {
                return each;
            }
        }
        return null;
    }

    private String hint() {
        return "; put a folder made by `crosslens export` into " + root + " on every node";
    }

    private static String names(List<Listed> listed) {
        return listed.stream().map(each -> each.directory() + (each.error() == null ? "" : " (damaged)"))
            .collect(Collectors.joining(", "));
    }

    /** Loads the model that {@code name} means, unless it is. Throws as {@link #find} does. */
    public Lease lease(String name) {
        String directory = listed(name).directory();
        Entry entry = entry(directory);
        try {
            // Others may go on meanwhile: reading a large model and checking its hashes takes seconds.
            synchronized (entry) {
                if (entry.encoder == null) {
                    long start = clock.getAsLong();
                    entry.encoder = new Encoder(entry.folder, threads);
                    LOG.info("loaded model [{}] ({}) in {} ms", directory, entry.folder.fingerprint(), clock.getAsLong() - start);
                }
            }
            return new Lease(entry);
        } catch (RuntimeException | Error e) {
            synchronized (this) {
                release(entry);
            }
            throw e;
        }
    }

    /** The folder's entry, which has one user more. */
    private Entry entry(String directory) {
        read(directory);
        synchronized (this) {
            Entry entry = entries.get(directory);
            entry.users++;
            return entry;
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

    private ModelFolder read(String directory) {
        Path path = root.resolve(directory);
        String stamp = stamp(path);
        synchronized (this) {
            Entry known = entries.get(directory);
            if (known != null && known.stamp.equals(stamp)) {
                return known.folder;
            }
            Entry fresh = new Entry(stamp, ModelFolder.open(path));
            entries.put(directory, fresh);
            if (known != null) {
                known.outdated = true;
                if (known.users == 0) {
                    unload(known);
                }
            }
            return fresh.folder;
        }
    }

    private List<String> directories() {
        List<String> found = new ArrayList<>();
        for (Path path : inside(root)) {
            // A folder that is none itself may hold several, as one that is mounted into a container does.
            for (Path model : ModelFolder.isModel(path) ? List.of(path) : inside(path)) {
                if (ModelFolder.isModel(model)) {
                    found.add(root.relativize(model).toString().replace('\\', '/'));
                }
            }
        }
        return found;
    }

    private static List<Path> inside(Path folder) {
        if (Files.isDirectory(folder) == false) {
            return List.of();
        }
        try (Stream<Path> inside = Files.list(folder)) {
            return inside.sorted().toList();
        } catch (IOException e) {
            throw new ModelException(folder + " can't be listed (" + e.getMessage() + ")", e);
        }
    }

    /** Changes whenever a file of the folder does. */
    private static String stamp(Path path) {
        StringBuilder stamp = new StringBuilder();
        for (Path folder : List.of(path, path.resolve("onnx"))) {
            for (Path file : inside(folder)) {
                try {
                    BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
                    if (now.isRegularFile()) {
                        stamp.append(file).append(' ').append(now.size()).append('@').append(now.lastModifiedTime().toMillis()).append('\n');
                    }
                } catch (IOException e) {
                    throw new ModelException(file + " can't be looked at (" + e.getMessage() + ")", e);
                }
            }
        }
        return stamp.toString();
    }

    @Override
    public synchronized void close() {
        entries.values().forEach(Models::unload);
        entries.clear();
    }
}
