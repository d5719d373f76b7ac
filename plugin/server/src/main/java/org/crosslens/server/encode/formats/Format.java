package org.crosslens.server.encode.formats;

import java.io.IOException;
import org.crosslens.server.encode.ImageException;

/** The formats that are read, by a file's first bytes. Java has no decoder for AVIF, which Python reads. */
public enum Format {
    PNG,
    JPEG,
    WEBP,
    GIF,
    BMP,
    TIFF;

    private static final byte[] PNG_MARK = { (byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };

    /** The format that the first bytes show, or null. */
    public static Format of(byte[] data) {
        if (Bytes.starts(data, 0, PNG_MARK)) {
            return PNG;
        }
        if (Bytes.starts(data, 0, "\u00ff\u00d8\u00ff")) {
            return JPEG;
        }
        if (Bytes.starts(data, 0, "RIFF") && Bytes.starts(data, 8, "WEBP")) {
            return WEBP;
        }
        if (Bytes.starts(data, 0, "GIF87a") || Bytes.starts(data, 0, "GIF89a")) {
            return GIF;
        }
        if (Bytes.starts(data, 0, "BM")) {
            return BMP;
        }
        for (String mark : new String[] { "II*\0", "MM\0*", "II+\0", "MM\0+" }) {
            if (Bytes.starts(data, 0, mark)) {
                return TIFF;
            }
        }
        return null;
    }

    /** The same; throws {@link ImageException} for null, with what the bytes are instead. */
    public static Format required(byte[] data) {
        if (data.length == 0) {
            throw new ImageException("the image is empty");
        }
        Format format = of(data);
        if (format == null) {
            throw new ImageException(
                "not an image in a supported format but " + Naming.description(data) + " (read are PNG, JPEG, WEBP, GIF, BMP, TIFF)"
            );
        }
        return format;
    }

    /** Return the start of {@code data} of this format, with headers read and checked; {@code check} may throw at any time. */
    public Pending start(byte[] data, int target, Runnable check) throws IOException {
        return switch (this) {
            case PNG -> Png.start(data, check);
            case JPEG -> Jpeg.start(data, target, check);
            case WEBP -> Webp.start(data, check);
            case GIF -> Gif.start(data, check);
            case BMP -> Bmp.start(data, check);
            case TIFF -> Tiff.start(data, check);
        };
    }
}
