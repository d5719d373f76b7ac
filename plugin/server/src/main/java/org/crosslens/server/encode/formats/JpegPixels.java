package org.crosslens.server.encode.formats;

import java.awt.image.DataBufferByte;
import java.awt.image.PixelInterleavedSampleModel;
import java.awt.image.Raster;
import java.io.IOException;
import java.util.Arrays;
import javax.imageio.ImageReader;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;

/**
 * A JPEG's components as they are stored, to be reduced before they become colours: the reader's own way takes half as long
 * again, and guesses otherwise than libjpeg where a file doesn't declare its colours.
 */
record JpegPixels(Raster raster) {

    /** How four components stand for inks: as they are, inverted as Adobe's programs do it, or so and as YCCK. */
    enum Inks {
        PLAIN,
        INVERTED,
        YCCK
    }

    static JpegPixels of(ImageReader reader) throws IOException {
        return new JpegPixels(reader.readRaster(0, null));
    }

    int width() {
        return raster.getWidth();
    }

    int height() {
        return raster.getHeight();
    }

    int bands() {
        return raster.getNumBands();
    }

    /** Return greys and inks as RGB, and three components as they are. */
    Picture picture(Inks inks) {
        byte[] components = asItLies();
        if (components == null) {
            components = new byte[width() * height() * 3];
            switch (bands()) {
                case 1 -> grey(components);
                case 3 -> {
                    if (Flat.interleaved(raster, components) == false) {
                        throw new ImageException("a JPEG whose components lie apart");
                    }
                }
                case 4 -> inks(inks, components);
                default -> throw new ImageException("a JPEG of " + bands() + " colours is not read");
            }
        }
        return new Picture(width(), height(), components);
    }

    /** The raster's own bytes where they are three a pixel in their order, else null. */
    private byte[] asItLies() {
        return raster.getSampleModel() instanceof PixelInterleavedSampleModel model
            && raster.getDataBuffer() instanceof DataBufferByte buffer
            && raster.getParent() == null
            && bands() == 3
            && Arrays.equals(model.getBandOffsets(), new int[] { 0, 1, 2 })
            && model.getScanlineStride() == width() * 3
            && buffer.getOffset() == 0
                ? buffer.getData()
                : null;
    }

    private void grey(byte[] rgb) {
        int[] row = new int[width()];
        for (int y = 0, at = 0; y < height(); y++) {
            raster.getSamples(0, y, row.length, 1, 0, row);
            for (int value : row) {
                Arrays.fill(rgb, at, at += 3, (byte) value);
            }
        }
    }

    /** As Pillow does: each of red, green and blue is what its complement and black leave. */
    private void inks(Inks inks, byte[] rgb) {
        byte[] pixel = new byte[3];
        int[] row = new int[width() * 4];
        for (int y = 0, at = 0; y < height(); y++) {
            raster.getPixels(0, y, width(), 1, row);
            for (int x = 0; x < row.length; x += 4, at += 3) {
                for (int i = 0; i < 3; i++) {
                    pixel[i] = (byte) (inks == Inks.INVERTED ? 255 - row[x + i] : row[x + i]);
                }
                if (inks == Inks.YCCK) {
                    // These are the complements of what is stored, and so the inks themselves.
                    Ycc.toRgb(pixel, 0);
                }
                int black = inks == Inks.PLAIN ? row[x + 3] : 255 - row[x + 3];
                for (int i = 0; i < 3; i++) {
                    rgb[at + i] = (byte) Flat.left(pixel[i] & 0xFF, black);
                }
            }
        }
    }
}
