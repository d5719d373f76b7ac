package org.crosslens.server.encode;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * What a picture's file says around its pixels: its format, the EXIF orientation, and for JPEG a copy without the
 * application segments that the decoder doesn't need (colour profiles above all, which would go to a native library),
 * for an animated WebP its first frame, with the {@code canvas} (else null) that it lies on. {@code colours} are a
 * JPEG's, else null.
 */
record Container(Format format, byte[] data, int orientation, Canvas canvas, JpegColours colours) {

    /**
     * How a JPEG's components are to be read: whether a JFIF and an Adobe segment stand in it, the latter's colour
     * transform, and the first component's number. What follows from that is libjpeg's rule (jdapimin.c).
     */
    record JpegColours(boolean jfif, boolean adobe, int transform, int firstComponent) {

        boolean isYcc() {
            return jfif || (adobe ? transform != 0 : firstComponent != 'R');
        }

        boolean isYcck() {
            return adobe && transform == 2;
        }
    }

    /** The formats that are read. Of Pillow's allow-list AVIF is missing: Java has no decoder for it. */
    enum Format {
        PNG,
        JPEG,
        WEBP,
        GIF,
        BMP,
        TIFF
    }

    private static final byte[] PNG_MARK = { (byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };

    /** The format that the first bytes show, or null. */
    static Format formatOf(byte[] data) {
        if (starts(data, 0, PNG_MARK)) {
            return Format.PNG;
        }
        if (data.length > 3 && (data[0] & 0xFF) == 0xFF && (data[1] & 0xFF) == 0xD8 && (data[2] & 0xFF) == 0xFF) {
            return Format.JPEG;
        }
        if (starts(data, 0, "RIFF") && starts(data, 8, "WEBP")) {
            return Format.WEBP;
        }
        if (starts(data, 0, "GIF87a") || starts(data, 0, "GIF89a")) {
            return Format.GIF;
        }
        if (starts(data, 0, "BM")) {
            return Format.BMP;
        }
        return starts(data, 0, "II*\0") || starts(data, 0, "MM\0*") ? Format.TIFF : null;
    }

    /** The same; throws {@link ImageException} for null. */
    static Format requireFormat(byte[] data) {
        Format format = formatOf(data);
        if (format == null) {
            throw new ImageException(
                "not an image in a supported format (PNG, JPEG, WEBP, GIF, BMP, TIFF; not AVIF in the cluster)"
            );
        }
        return format;
    }

    /** Reads the container of {@code data}; throws {@link ImageException} where the format is none of the above. */
    static Container of(byte[] data) {
        Format format = requireFormat(data);
        return switch (format) {
            case JPEG -> jpeg(data);
            case PNG -> new Container(format, data, png(data), null, null);
            case WEBP -> webp(data);
            case TIFF -> new Container(format, data, Orientation.of(ByteBuffer.wrap(data)), null, null);
            case GIF, BMP -> new Container(format, data, Orientation.UPRIGHT, null, null);
        };
    }

    private static Container jpeg(byte[] data) {
        ByteArrayOutputStream kept = new ByteArrayOutputStream(data.length);
        kept.write(data, 0, 2);
        int orientation = Orientation.UPRIGHT, transform = 0, firstComponent = 1, at = 2;
        boolean jfif = false, adobe = false;
        while (at + 4 <= data.length && (data[at] & 0xFF) == 0xFF) {
            int marker = data[at + 1] & 0xFF;
            if (marker == 0xFF) {
                // Any number of fill bytes may stand before a marker.
                at++;
                continue;
            }
            int length = (data[at + 2] & 0xFF) << 8 | data[at + 3] & 0xFF;
            if (marker == 0xDA || length < 2 || at + 2 + length > data.length) {
                break;
            }
            if (marker == 0xE1 && length >= 8 && starts(data, at + 4, "Exif\0\0") && orientation == Orientation.UPRIGHT) {
                orientation = Orientation.of(ByteBuffer.wrap(data, at + 10, length - 8));
            }
            if (marker == 0xE0 && starts(data, at + 4, "JFIF\0")) {
                jfif = true;
            } else if (marker == 0xEE && starts(data, at + 4, "Adobe") && length >= 14) {
                adobe = true;
                transform = data[at + 15] & 0xFF;
            } else if (marker >= 0xC0 && marker <= 0xC2 && length >= 11) {
                firstComponent = data[at + 10] & 0xFF;
            }
            boolean application = marker >= 0xE0 && marker <= 0xEF, comment = marker == 0xFE;
            // JFIF (0xE0) and Adobe (0xEE) say how colours are stored.
            if (application == false && comment == false || marker == 0xE0 || marker == 0xEE) {
                kept.write(data, at, 2 + length);
            }
            at += 2 + length;
        }
        kept.write(data, at, data.length - at);
        JpegColours colours = new JpegColours(jfif, adobe, transform, firstComponent);
        return new Container(Format.JPEG, kept.toByteArray(), orientation, null, colours);
    }

    /** The orientation. What stands before the pixels must be whole: decoders allocate what a chunk claims. */
    private static int png(byte[] data) {
        int at = PNG_MARK.length;
        boolean pixels = false;
        while (at + 12 <= data.length) {
            long length = ByteBuffer.wrap(data, at, 4).getInt() & 0xFFFFFFFFL;
            if (starts(data, at + 4, "IDAT")) {
                pixels = true;
            }
            if (at + 12 + length > data.length) {
                if (pixels == false) {
                    throw new ImageException("the image is truncated (a PNG chunk lies beyond its end)");
                }
                break;
            }
            if (starts(data, at + 4, "eXIf")) {
                return Orientation.of(ByteBuffer.wrap(data, at + 8, (int) length));
            }
            at += (int) (12 + length);
        }
        return Orientation.UPRIGHT;
    }

    /** Source: the WebP container specification (developers.google.com/speed/webp/docs/riff_container). */
    private static Container webp(byte[] data) {
        int orientation = Orientation.UPRIGHT, at = 12;
        byte[] frame = null;
        Canvas canvas = null;
        while (at + 8 <= data.length) {
            long length = ByteBuffer.wrap(data, at + 4, 4).order(ByteOrder.LITTLE_ENDIAN).getInt() & 0xFFFFFFFFL;
            if (at + 8 + length > data.length) {
                break;
            }
            int content = at + 8;
            if (starts(data, at, "VP8X") && length >= 10) {
                canvas = new Canvas(three(data, content + 4) + 1, three(data, content + 7) + 1, 0, 0);
            } else if (starts(data, at, "ANMF") && length >= 16 && frame == null && canvas != null) {
                canvas = new Canvas(canvas.width(), canvas.height(), 2 * three(data, content), 2 * three(data, content + 3));
                frame = stillWebp(data, content, (int) length);
            } else if (starts(data, at, "EXIF")) {
                int skipped = starts(data, content, "Exif\0\0") && length >= 6 ? 6 : 0;
                orientation = Orientation.of(ByteBuffer.wrap(data, content + skipped, (int) length - skipped));
            }
            at += (int) (8 + length + length % 2);
        }
        return frame == null
            ? new Container(Format.WEBP, data, orientation, null, null)
            : new Container(Format.WEBP, frame, orientation, canvas, null);
    }

    /** A frame of an animation (an ANMF chunk's content) as a picture of its own. */
    private static byte[] stillWebp(byte[] data, int content, int length) {
        int chunks = length - 16;
        ByteBuffer still = ByteBuffer.allocate(30 + chunks).order(ByteOrder.LITTLE_ENDIAN);
        still.put("RIFF".getBytes(StandardCharsets.ISO_8859_1)).putInt(22 + chunks);
        still.put("WEBPVP8X".getBytes(StandardCharsets.ISO_8859_1)).putInt(10);
        // Its alpha channel may be in use; width and height less one follow as the frame has them.
        still.putInt(0x10).put(data, content + 6, 6).put(data, content + 16, chunks);
        return still.array();
    }

    private static int three(byte[] data, int at) {
        return data[at] & 0xFF | (data[at + 1] & 0xFF) << 8 | (data[at + 2] & 0xFF) << 16;
    }

    private static boolean starts(byte[] data, int at, String mark) {
        return starts(data, at, mark.getBytes(StandardCharsets.ISO_8859_1));
    }

    private static boolean starts(byte[] data, int at, byte[] mark) {
        if (at + mark.length > data.length) {
            return false;
        }
        for (int i = 0; i < mark.length; i++) {
            if (data[at + i] != mark[i]) {
                return false;
            }
        }
        return true;
    }
}
