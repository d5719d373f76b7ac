package org.crosslens.server.encode;

/** Limits the preparation of a picture: memory is reserved before it is used, and the deadline is checked along the way. */
@FunctionalInterface
public interface Budget {

    /** Reserves {@code bytes} more of memory until the picture is done, or throws. */
    void reserve(long bytes);

    /** Throws once the picture is no longer wanted. */
    default void check() {}
}
