package org.crosslens.server.work;

import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.encode.ModelFolder;

/**
 * What was read of a model's folder, or why it can't be used; and the encoder while it is loaded. Its {@code users},
 * {@code used} and {@code outdated} are guarded by {@link Models}.
 */
final class Entry {

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
