package org.crosslens.server.share;

import java.io.IOException;
import java.nio.file.Path;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.env.Environment;
import org.elasticsearch.rest.RestStatus;

/** Puts the parts of a model together in a folder of its own, and believes none of its claims. */
final class Staging {

    private static final Logger LOG = LogManager.getLogger(Staging.class);
    /** Settings become objects, for which a piece's memory isn't enough. */
    private static final int TIMES_SETTINGS = 2;
    private final Store store;
    private final Depot depot;
    private final Gate gate;

    Staging(Store store, Depot depot, Gate gate) {
        this.store = store;
        this.depot = depot;
        this.gate = gate;
    }

    /**
     * Return a folder with the model, complete and as announced: every file's hash, what its own manifest says, and the
     * fingerprint. Of one that isn't, or that is no longer {@code wanted}, nothing stays.
     *
     * <p>Throws {@link IllegalArgumentException} where the model is to blame, else what went wrong here.
     */
    Path stage(Manifest manifest, Wanted wanted) throws IOException {
        Path folder = depot.begin();
        try {
            checkSpace(manifest, folder);
            fill(manifest, folder, wanted);
            gate.holding(manifest.settings() * TIMES_SETTINGS, () -> {
                check(manifest, folder);
                return null;
            });
        } catch (IOException | RuntimeException e) {
            try {
                Depot.delete(folder);
            } catch (IOException left) {
                e.addSuppressed(left);
            }
            throw e;
        }
        return folder;
    }

    private static void checkSpace(Manifest manifest, Path folder) throws IOException {
        long free = Environment.getUsableSpace(folder);
        // Twice, since the node writes other things meanwhile. Unknown is 0.
        if (free > 0 && free < 2 * manifest.total()) {
            throw new ElasticsearchStatusException(
                "the model [{}] has {} MB, and the node's data folder has {} MB left, less than twice as much",
                RestStatus.INSUFFICIENT_STORAGE,
                manifest.name(),
                manifest.total() >> 20,
                free >> 20
            );
        }
    }

    private void fill(Manifest manifest, Path folder, Wanted wanted) throws IOException {
        String upload = manifest.upload();
        try (Unpacking unpacking = new Unpacking(manifest, folder)) {
            for (int part = 0; part < manifest.parts().size(); part++) {
                RuntimeException why = wanted.ended();
                if (why != null) {
                    throw why;
                }
                int number = part;
                gate.holding(manifest.length(part), () -> {
                    unpacking.take(store.part(manifest, upload, number));
                    return null;
                });
            }
            unpacking.finish();
        }
    }

    /** Refuses the model in {@code folder} unless it can be read and is the one announced. */
    static void check(Manifest manifest, Path folder) {
        ModelFolder model;
        try {
            if (ModelFolder.isModel(folder) == false) {
                throw new ModelException("config.json or tokenizer.json is missing from its files");
            }
            model = ModelFolder.open(folder);
            model.verify();
        } catch (RuntimeException e) {
            // Whatever a stranger's settings make of the code that reads them, they are to blame.
            String why = e instanceof ModelException ? e.getMessage() : "it can't be read (" + e.getMessage() + ")";
            String inside = why.replace(folder + folder.getFileSystem().getSeparator(), "").replace(folder.toString(), "it");
            // The cause names this node's folders, which are no business of the sender's.
            LOG.warn("the model [" + manifest.name() + "], which the cluster was given, can't be served", e);
            throw new IllegalArgumentException("the model [" + manifest.name() + "] can't be served: " + inside);
        }
        if (model.fingerprint().equals(manifest.fingerprint()) == false) {
            throw new IllegalArgumentException(
                "the model [" + manifest.name() + "] has the fingerprint " + model.fingerprint() + ", not " + manifest.fingerprint()
                    + " as announced"
            );
        }
    }
}
