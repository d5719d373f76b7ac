package org.crosslens.server.serve;

import java.util.Set;
import org.crosslens.server.encode.ModelFolder;

/**
 * A model that some node has: its name and what an index records of it. {@code searches} are the fingerprints of other
 * vectors that its queries may be compared with, as {@link ModelFolder} has them.
 */
public record Served(String name, String fingerprint, Set<String> searches) {

    static Served of(ModelFolder folder) {
        return new Served(folder.name(), folder.fingerprint(), folder.searches());
    }

    /** Whether queries by this model may be compared with vectors of which an index records {@code recorded}. */
    public boolean maySearch(String recorded) {
        return fingerprint.equals(recorded) || searches.contains(recorded);
    }
}
