package org.crosslens.server.work;

import java.util.function.Consumer;
import java.util.function.Supplier;
import org.crosslens.server.documents.References;

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

    private final String text;
    private final Image image;
    private final long held;
    private final Consumer<byte[]> seen;

    private Input(String text, Image image, long held, Consumer<byte[]> seen) {
        this.text = text;
        this.image = image;
        this.held = held;
        this.seen = seen;
    }

    public static Input of(String text) {
        return new Input(text, null, 2L * text.length(), data -> {});
    }

    /** The image in these encoded bytes. */
    public static Input of(byte[] data) {
        return image(data.length, () -> data, data.length);
    }

    /** The image in {@code base64} or a data URI, as a request holds it. */
    public static Input encoded(String base64) {
        return image(References.size(base64), () -> References.encoded(base64), base64.length());
    }

    /**
     * The image that a document's {@code reference} means. {@code check} may throw before it is read, {@code seen} gets its
     * bytes. Waiting takes no memory, since the
     * document is held, and counted, by Elasticsearch.
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
        }, 0, seen);
    }

    private static Input image(long size, Supplier<byte[]> read, long held) {
        return new Input(null, new Image() {
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

    /** Return the memory that it holds while it waits, in bytes. */
    long held() {
        return held;
    }
}
