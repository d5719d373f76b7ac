package org.crosslens.server.documents;

/**
 * Where a passage stands in its text: {@code from} and {@code to} in UTF-16 units, {@code start} and {@code end} in code
 * points, as documents record it. Ends are exclusive.
 */
public record Passage(int from, int to, int start, int end) {

    /** The passage's own words. */
    public String of(String text) {
        return text.substring(from, to);
    }

    int length() {
        return end - start;
    }
}
