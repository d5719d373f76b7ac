package org.crosslens.server.encode;

import java.io.IOException;
import java.util.Arrays;
import javax.imageio.ImageReader;
import javax.imageio.metadata.IIOMetadataNode;

/** An animation's canvas, and where on it the first frame lies; in pixels. What the frame leaves free is white. */
record Canvas(int width, int height, int left, int top) {

    static Canvas ofGif(ImageReader reader, byte[] gif) throws IOException {
        int width = gif[6] & 0xFF | (gif[7] & 0xFF) << 8, height = gif[8] & 0xFF | (gif[9] & 0xFF) << 8;
        IIOMetadataNode root = (IIOMetadataNode) reader.getImageMetadata(0).getAsTree("javax_imageio_gif_image_1.0");
        IIOMetadataNode place = (IIOMetadataNode) root.getElementsByTagName("ImageDescriptor").item(0);
        int left = Integer.parseInt(place.getAttribute("imageLeftPosition"));
        int top = Integer.parseInt(place.getAttribute("imageTopPosition"));
        return new Canvas(width, height, left, top);
    }

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
