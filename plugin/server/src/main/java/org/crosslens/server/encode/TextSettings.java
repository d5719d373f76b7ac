package org.crosslens.server.encode;

/**
 * How texts become token ids: at most {@code length} tokens, padded with {@code padId} on the right or, with
 * {@code left}, on the left; always to the full length when {@code fixed}.
 */
public record TextSettings(int length, long padId, boolean fixed, boolean left) {

    /** All of them in one line, as part of what a fingerprint is of; the Python side writes the same. */
    String line() {
        return length + " " + padId + " " + fixed + (left ? " left" : " right") + " false";
    }

    /** As a graph that reads just {@code size} tokens needs them; 0 for one that reads as many as there are. */
    TextSettings fitted(long size) {
        return size == 0 ? this : new TextSettings((int) size, padId, true, left);
    }
}
