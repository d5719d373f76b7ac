package org.crosslens.server.encode.formats;

import java.io.ByteArrayOutputStream;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;

/**
 * JPEG without the metadata that pixels don't need (colour profiles above all, which would go to a native library), and
 * reduced where that suffices.
 */
final class Jpeg {

    private record Said(int orientation, Colours colours) {}

    /**
     * How components are to be read: whether a JFIF and an Adobe segment stand in it, the latter's colour transform, and the
     * components' numbers. What follows from that is libjpeg's rule (jdapimin.c).
     */
    record Colours(boolean jfif, boolean adobe, int transform, String components) {

        boolean isYcc() {
            return jfif || (adobe ? transform != 0 : components.equals("RGB") == false);
        }

        JpegPixels.Inks inks() {
            return transform == 0 ? JpegPixels.Inks.INVERTED : JpegPixels.Inks.YCCK;
        }
    }

    private Jpeg() {}

    /** Reads the header; {@code target} as in {@link org.crosslens.server.encode.Images#open}. */
    static Pending start(byte[] data, int target, Runnable check) {
        JpegFrame frame = JpegFrame.of(data, 0, data.length);
        Said said = segments(data, null);
        if (frame.width() == 0 || frame.height() == 0) {
            throw new ImageException("the image can't be decoded: the JPEG is cut off before its size, or has none");
        }
        if (frame.components() == 4 && said.colours.adobe == false) {
            // Adobe's programs store inverted inks, others don't, and some decoders always assume inversion.
            throw new ImageException("a CMYK JPEG that doesn't say whether its inks are inverted is not read");
        }
        long decoding = (long) frame.width() * frame.height() * Math.max(frame.components(), 1) + frame.coefficients();
        return new Pending(frame.width(), frame.height(), decoding + 2L * data.length, 1, said.orientation, () -> {
            byte[] slim = slim(data, frame);
            JpegPixels pixels = Decoders.use(Format.JPEG, new ImageBytes(slim, check), JpegPixels::of);
            Picture reduced = pixels.picture(said.colours.inks()).reduced(reduction(pixels, target));
            return pixels.bands() == 3 && said.colours.isYcc() ? Ycc.toRgb(reduced) : reduced;
        });
    }

    /** Pillow's {@code draft} chooses so; the mean of a block is what a decoder that reduces computes, or nearly. */
    private static int reduction(JpegPixels pixels, int target) {
        int possible = target > 0 ? Math.min(pixels.width(), pixels.height()) / (2 * target) : 1;
        return possible >= 8 ? 8 : possible >= 4 ? 4 : possible >= 2 ? 2 : 1;
    }

    /** The file without application segments and comments, except those that say how colours are stored. */
    private static byte[] slim(byte[] data, JpegFrame frame) {
        ByteArrayOutputStream kept = new ByteArrayOutputStream(data.length + 2);
        segments(data, kept);
        if (frame.lacksOnlyItsEnd()) {
            kept.write(0xFF);
            kept.write(0xD9);
        }
        return kept.toByteArray();
    }

    /** What the segments before the pixels say; {@code kept} (or null) gets the file without those that needn't be there. */
    private static Said segments(byte[] data, ByteArrayOutputStream kept) {
        if (kept != null) {
            kept.write(data, 0, 2);
        }
        int exif = Orientation.NONE, xmp = Orientation.NONE, transform = 0, at = 2;
        boolean jfif = false, adobe = false;
        String components = "";
        while (at + 4 <= data.length) {
            int marker = data[at + 1] & 0xFF;
            if ((data[at] & 0xFF) != 0xFF || marker == 0xFF) {
                // Any number of fill bytes may precede a marker; where a segment's length was wrong, decoders look for the next.
                at++;
                continue;
            }
            if (marker <= 0x01 || marker >= 0xD0 && marker <= 0xD9) {
                at += 2;
                continue;
            }
            int length = (data[at + 2] & 0xFF) << 8 | data[at + 3] & 0xFF, content = at + 4;
            if (marker == 0xDA || length < 2 || at + 2 + length > data.length) {
                break;
            }
            if (marker == 0xE1 && Bytes.starts(data, content, "Exif\0") && exif == Orientation.NONE) {
                exif = Orientation.ofExif(data, content, length - 2);
            } else if (marker == 0xE1 && Bytes.starts(data, content, "http://ns.adobe.com/xap/1.0/") && xmp == Orientation.NONE) {
                xmp = Orientation.ofXmp(data, content, length - 2);
            } else if (marker == 0xE0 && Bytes.starts(data, content, "JFIF\0")) {
                jfif = true;
            } else if (marker == 0xEE && Bytes.starts(data, content, "Adobe") && length >= 14) {
                adobe = true;
                transform = data[at + 15] & 0xFF;
            } else if (marker >= 0xC0 && marker <= 0xC2 && length >= 17) {
                components = Bytes.latin(new byte[] { data[at + 10], data[at + 13], data[at + 16] }, 0, 3);
            }
            boolean application = marker >= 0xE0 && marker <= 0xEF, comment = marker == 0xFE;
            // JFIF (0xE0) and Adobe (0xEE) say how colours are stored.
            if (kept != null && (application == false && comment == false || marker == 0xE0 || marker == 0xEE)) {
                kept.write(data, at, 2 + length);
            }
            at += 2 + length;
        }
        if (kept != null) {
            kept.write(data, at, data.length - at);
        }
        return new Said(exif == Orientation.NONE ? xmp : exif, new Colours(jfif, adobe, transform, components));
    }
}
