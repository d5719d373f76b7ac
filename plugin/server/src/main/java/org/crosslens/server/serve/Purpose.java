package org.crosslens.server.serve;

/** What vectors are wanted for, by the number that nodes send each other. */
public enum Purpose {
    /** A search waits for the vector of its query. */
    QUERY,
    /** A client waits for the answer. */
    ENCODE,
    /** A client wants much done in all, and each answer may take longer. */
    BULK
}
