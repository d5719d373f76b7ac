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
    private final String base64;
    private final Image image;
    private final long held;
    private final Consumer<byte[]> seen;

    private Input(String text, String base64, Image image, long held, Consumer<byte[]> seen) {
        this.text = text;
        this.base64 = base64;
        this.image = image;
        this.held = held;
        this.seen = seen;
    }

    public static Input of(String text) {
        return new Input(text, null, null, 2L * text.length(), data -> {});
    }

    /** The image in these encoded bytes. */
    public static Input of(byte[] data) {
        return image(null, data.length, () -> data, data.length);
    }

    /** The image in {@code base64} or a data URI, as a request holds it. */
    public static Input encoded(String base64) {
        return image(base64, References.size(base64), () -> References.encoded(base64), base64.length());
    }

    /**
     * The image that a document's {@code reference} means. {@code check} may throw before it is read, {@code seen} gets its
     * bytes. Waiting takes no memory, since the document is held, and counted, by Elasticsearch.
     */
    public static Input of(References references, String reference, Runnable check, Consumer<byte[]> seen) {
        return new Input(null, null, new Image() {
            @Override
            public long size() {
                check.run();
                return references.sizeOf(reference);
            }

            @Override
            public byte[] read() {
                return references.read(reference);
            }
        }, 0, seen);
    }

    private static Input image(String base64, long size, Supplier<byte[]> read, long held) {
        return new Input(null, base64, new Image() {
            @Override
            public long size() {
                return size;
            }

            @Override
            public byte[] read() {
                return read.get();
            }
        }, held, bytes -> {});
    }

    /** The same with a prompt before it, if it is a text. */
    public Input after(String prompt) {
        return isText() && prompt.isEmpty() == false ? of(prompt + text) : this;
    }

    public boolean isText() {
        return text != null;
    }

    public String text() {
        return text;
    }

    /** The image as a request held it, in base64 or as a data URI; null for one that came otherwise. */
    public String base64() {
        return base64;
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
        // The text, or the image as it was written; null where neither is held.
        String written = text != null ? text : base64;
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
    public long held() {
        return held;
    }
}
