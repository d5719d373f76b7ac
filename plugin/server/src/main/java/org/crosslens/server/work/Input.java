package org.crosslens.server.work;

import java.security.MessageDigest;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.crosslens.server.documents.References;
import org.elasticsearch.common.hash.MessageDigests;

/**
 * A text or an image to encode. Images are read only when their turn comes, and their size is known before, so that the
 * memory can be reserved first.
 */
public final class Input {

    /** The bytes of an encoded image, with an upper bound of their memory. */
    private interface Image {

        long size();

        byte[] read();
    }

    /** Hashing so many characters takes a few milliseconds. */
    private static final int MOST_DIGESTED = 1 << 22;

    private final String text;
    private final Image image;
    // The text, or the image as it was written; null where neither is held.
    private final String written;
    private final long held;
    private final Consumer<byte[]> seen;

    private Input(String text, Image image, String written, long held, Consumer<byte[]> seen) {
        this.text = text;
        this.image = image;
        this.written = written;
        this.held = held;
        this.seen = seen;
    }

    public static Input of(String text) {
        return new Input(text, null, text, 2L * text.length(), data -> {});
    }

    /** The image in these encoded bytes. */
    public static Input of(byte[] data) {
        return image(data.length, () -> data, null, data.length);
    }

    /** The image in {@code base64} or a data URI, as a request holds it. */
    public static Input encoded(String base64) {
        return image(References.size(base64), () -> References.encoded(base64), base64, base64.length());
    }

    /**
     * The image that a document's {@code reference} means. {@code check} may throw before it is read, {@code seen} gets its
     * bytes. Waiting takes no memory, since the document is held, and counted, by Elasticsearch.
     */
    public static Input of(References references, String reference, Runnable check, Consumer<byte[]> seen) {
        return new Input(null, new Image() {
            @Override
            public long size() {
                check.run();
                return references.sizeOf(reference);
            }

            @Override
            public byte[] read() {
                return references.read(reference);
            }
        }, null, 0, seen);
    }

    private static Input image(long size, Supplier<byte[]> read, String written, long held) {
        return new Input(null, new Image() {
            @Override
            public long size() {
                return size;
            }

            @Override
            public byte[] read() {
                return read.get();
            }
        }, written, held, bytes -> {});
    }

    boolean isText() {
        return text != null;
    }

    String text() {
        return text;
    }

    /** Return an upper bound of the memory that reading the image takes, in bytes. Throws {@link org.crosslens.server.encode.ImageException}. */
    long size() {
        return image.size();
    }

    /** The image's bytes. Throws {@link org.crosslens.server.encode.ImageException}. */
    byte[] read() {
        byte[] data = image.read();
        seen.accept(data);
        return data;
    }

    /**
     * Return the sha256 of what was asked for, by which equal inputs know each other, or null where it would take long to
     * make or isn't known yet. Images are equal that are written alike.
     */
    String digest() {
        if (written == null || written.length() > MOST_DIGESTED) {
            return null;
        }
        MessageDigest digest = MessageDigests.sha256();
        byte[] piece = new byte[1 << 13];
        for (int start = 0; start < written.length(); start += piece.length / 2) {
            int end = Math.min(start + piece.length / 2, written.length());
            for (int i = start; i < end; i++) {
                char c = written.charAt(i);
                piece[2 * (i - start)] = (byte) (c >> 8);
                piece[2 * (i - start) + 1] = (byte) c;
            }
            digest.update(piece, 0, 2 * (end - start));
        }
        return MessageDigests.toHexString(digest.digest());
    }

    /** Return the memory that it holds while it waits, in bytes. */
    long held() {
        return held;
    }
}
