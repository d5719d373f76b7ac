package org.crosslens.server.work;

/** What is to be encoded: a text, or the encoded bytes of an image; the other is null. */
public record Input(String text, byte[] image) {

    public static Input of(String text) {
        return new Input(text, null);
    }

    public static Input of(byte[] image) {
        return new Input(null, image);
    }

    boolean isText() {
        return text != null;
    }

    long bytes() {
        return isText() ? 2L * text.length() : image.length;
    }
}
