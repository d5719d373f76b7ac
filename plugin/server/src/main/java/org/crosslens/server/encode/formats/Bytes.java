package org.crosslens.server.encode.formats;

import java.nio.charset.StandardCharsets;

/** Looking at a file's bytes; whatever lies beyond them is simply not there. */
final class Bytes {

    private Bytes() {}

    static boolean starts(byte[] data, int at, String mark) {
        return starts(data, at, mark.getBytes(StandardCharsets.ISO_8859_1));
    }

    static boolean starts(byte[] data, int at, byte[] mark) {
        if (at < 0 || at + mark.length > data.length) {
            return false;
        }
        for (int i = 0; i < mark.length; i++) {
            if (data[at + i] != mark[i]) {
                return false;
            }
        }
        return true;
    }

    /** Whether {@code mark} stands anywhere from {@code from} on. */
    static boolean contains(byte[] data, int from, String mark) {
        byte[] wanted = mark.getBytes(StandardCharsets.ISO_8859_1);
        for (int at = Math.max(from, 0); at + wanted.length <= data.length; at++) {
            if (starts(data, at, wanted)) {
                return true;
            }
        }
        return false;
    }

    /** The bytes as characters of the same numbers. */
    static String latin(byte[] data, int from, int length) {
        return new String(data, from, length, StandardCharsets.ISO_8859_1);
    }
}
