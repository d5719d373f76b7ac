package org.crosslens.server.encode.formats;

import java.io.IOException;
import org.crosslens.server.encode.Picture;

/**
 * A picture whose headers were read and checked. {@code memory} is an upper bound of the bytes that decoding takes, besides
 * the encoded data and the pictures made of it; {@code copies} is how many pictures of three bytes a pixel exist at once
 * before it is turned.
 */
public record Pending(int width, int height, long memory, int copies, int orientation, Decoding decoding) {

    /** Decodes the pixels, as they are stored in the file: not turned yet, but opaque. */
    @FunctionalInterface
    public interface Decoding {
        Picture run() throws IOException;
    }

    /** Return the pixels to count against the limit. */
    public long pixels() {
        return (long) width * height;
    }

    /** Return the memory of decoding and of all pictures, in bytes. */
    public long needed() {
        int pictures = Math.max(copies, orientation > Orientation.UPRIGHT ? 2 : 1);
        return memory + 3 * pictures * pixels();
    }

    /** Return the upright, opaque picture. */
    public Picture load() throws IOException {
        return Orientation.upright(decoding.run(), orientation);
    }
}
