package org.crosslens.server.encode.formats;

import java.awt.image.BufferedImage;
import java.awt.image.DataBufferByte;
import java.awt.image.IndexColorModel;
import java.awt.image.PixelInterleavedSampleModel;
import java.awt.image.Raster;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;

/** From a decoder's picture of 8-bit samples or a palette to opaque RGB, with transparency on white. */
final class Flat {

    private Flat() {}

    static Picture of(BufferedImage image) {
        Raster raster = image.getRaster();
        byte[] rgb = new byte[raster.getWidth() * raster.getHeight() * 3];
        if (image.getColorModel() instanceof IndexColorModel palette) {
            int[] colours = new int[palette.getMapSize()];
            palette.getRGBs(colours);
            indexed(raster, colours, rgb);
        } else if (interleaved(raster, rgb) == false) {
            samples(raster, rgb);
        }
        return new Picture(raster.getWidth(), raster.getHeight(), rgb);
    }

    /** Colours (ARGB) by index; black beyond their end. */
    static void indexed(Raster raster, int[] colours, byte[] rgb) {
        int[] row = new int[raster.getWidth()];
        for (int y = 0, at = 0; y < raster.getHeight(); y++) {
            raster.getSamples(0, y, row.length, 1, 0, row);
            for (int index : row) {
                int colour = index < colours.length ? colours[index] : 0xFF000000;
                put(rgb, at, colour >> 16 & 0xFF, colour >> 8 & 0xFF, colour & 0xFF, colour >>> 24);
                at += 3;
            }
        }
    }

    private static void samples(Raster raster, byte[] rgb) {
        int bands = raster.getNumBands();
        if (bands > 4 || raster.getSampleModel().getSampleSize(0) != 8) {
            throw new ImageException("an image of " + bands + " bands is not read");
        }
        int[] row = new int[raster.getWidth() * bands];
        for (int y = 0, at = 0; y < raster.getHeight(); y++) {
            raster.getPixels(0, y, raster.getWidth(), 1, row);
            for (int x = 0; x < row.length; x += bands, at += 3) {
                boolean grey = bands < 3;
                put(rgb, at, row[x], row[grey ? x : x + 1], row[grey ? x : x + 2], bands % 2 == 0 ? row[x + bands - 1] : 255);
            }
        }
    }

    /** The common case, three bytes a pixel in any order, copied without a detour. Returns false for any other. */
    static boolean interleaved(Raster raster, byte[] rgb) {
        if (raster.getSampleModel() instanceof PixelInterleavedSampleModel pixels
            && raster.getNumBands() == 3
            && raster.getDataBuffer() instanceof DataBufferByte buffer
            && raster.getParent() == null) {
            byte[] data = buffer.getData();
            int[] offsets = pixels.getBandOffsets();
            int step = pixels.getPixelStride(), start = buffer.getOffset();
            for (int y = 0, at = 0; y < raster.getHeight(); y++) {
                int from = start + y * pixels.getScanlineStride();
                for (int x = 0; x < raster.getWidth(); x++, from += step, at += 3) {
                    rgb[at] = data[from + offsets[0]];
                    rgb[at + 1] = data[from + offsets[1]];
                    rgb[at + 2] = data[from + offsets[2]];
                }
            }
            return true;
        }
        return false;
    }

    static void put(byte[] rgb, int at, int red, int green, int blue, int alpha) {
        rgb[at] = over(red, alpha);
        rgb[at + 1] = over(green, alpha);
        rgb[at + 2] = over(blue, alpha);
    }

    /** What a colour with an opacity looks like on white. */
    static byte over(int colour, int alpha) {
        return (byte) (alpha == 255 ? colour : (colour * alpha + 255 * (255 - alpha) + 127) / 255);
    }

    /** What ink and black leave of white. */
    static int left(int ink, int black) {
        return ((255 - ink) * (255 - black) + 127) / 255;
    }
}
