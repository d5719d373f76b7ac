package org.crosslens.server.share;

import java.nio.file.Files;
import java.nio.file.Path;

/** The folder in a node's configuration with the models that somebody put there by hand: theirs to change, never ours. */
record Own(Path folder) {

    /** Whether something of this name lies there, whatever it is. */
    boolean has(String name) {
        return Files.exists(folder.resolve(name));
    }

    /** How a node stands with a shared model that has the name of one of its own. */
    static SyncMessages.Response standing() {
        return new SyncMessages.Response(Standing.OWN, "a folder of that name lies in crosslens/ in this node's configuration folder");
    }
}
