package org.crosslens.server.share;

/** How a node stands with a shared model, by the number that nodes send each other. */
enum Standing {
    /** It has it. */
    INSTALLED,
    /** It hasn't, and shouldn't or doesn't yet. */
    ABSENT,
    /** Its setting doesn't let it take shared models. */
    OFF,
    /** Somebody put a folder of that name among its own models. */
    OWN,
    /** It should have it, and couldn't take it. */
    FAILED
}
