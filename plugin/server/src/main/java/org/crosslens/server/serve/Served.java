package org.crosslens.server.serve;

import org.crosslens.server.encode.ModelFolder;

/** A model that some node has: its name and what an index records of it. */
public record Served(String name, String fingerprint) {

    static Served of(ModelFolder folder) {
        return new Served(folder.name(), folder.fingerprint());
    }
}
