package org.crosslens.server.encode.formats;

import java.util.Arrays;
import org.crosslens.server.encode.Picture;

/** An animation's canvas, and where on it the first frame lies; in pixels. What the frame leaves free is white. */
record Canvas(int width, int height, int left, int top) {

    Picture place(Picture picture) {
        if (picture.width() == width && picture.height() == height || width == 0 || height == 0) {
            return picture;
        }
        byte[] canvas = new byte[width * height * 3];
        Arrays.fill(canvas, (byte) 255);
        int columns = Math.min(picture.width(), width - left);
        for (int y = 0; y < picture.height() && y + top < height && columns > 0; y++) {
            System.arraycopy(picture.rgb(), y * picture.width() * 3, canvas, ((y + top) * width + left) * 3, columns * 3);
        }
        return new Picture(width, height, canvas);
    }
}
