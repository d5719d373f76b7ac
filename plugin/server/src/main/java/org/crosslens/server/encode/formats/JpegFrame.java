package org.crosslens.server.encode.formats;

import org.crosslens.server.encode.ImageException;

/**
 * The amount of work a JPEG's markers declare (source: ITU-T T.81, annex B). Each scan covers the whole picture, although
 * it may occupy only a few bytes of the file. All fields are zero where no frame is declared.
 */
record JpegFrame(int width, int height, int components, boolean progressive, int scans, int end, boolean ended) {

    // Encoders that search for the best scan script try 64 scans and write fewer.
    private static final int MOST_SCANS = 100;
    private static final long MOST_PIXELS_OF_SCANS = 2_000_000_000L;

    /** Reads the markers from {@code from} up to the end of the image or {@code to}; throws {@link ImageException}. */
    static JpegFrame of(byte[] data, int from, int to) {
        int width = 0, height = 0, components = 0, scans = 0, at = from;
        boolean progressive = false, ended = false;
        while (at + 1 < to) {
            int marker = data[at + 1] & 0xFF;
            if ((data[at] & 0xFF) != 0xFF || marker == 0xFF) {
                at++;
                continue;
            }
            if (marker == 0xD9) {
                at += 2;
                ended = true;
                break;
            }
            if (marker <= 0x01 || marker >= 0xD0 && marker <= 0xD8) {
                at += 2;
                continue;
            }
            if (at + 4 > to) {
                break;
            }
            if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC && at + 10 <= to) {
                if (components > 0) {
                    throw new ImageException("a JPEG of more than one frame");
                }
                progressive = marker == 0xC2;
                height = two(data, at + 5);
                width = two(data, at + 7);
                components = data[at + 9] & 0xFF;
            } else if (marker == 0xDA) {
                scans++;
            }
            at += 2 + two(data, at + 2);
        }
        if (scans > MOST_SCANS || (long) scans * width * height > MOST_PIXELS_OF_SCANS) {
            throw new ImageException("a JPEG of " + scans + " scans asks for more work than a picture is worth");
        }
        return new JpegFrame(width, height, components, progressive, scans, Math.min(at, to), ended);
    }

    /** Return whether only the end's mark is missing, as far as the markers show: a decoder sees whether pixels are. */
    boolean lacksOnlyItsEnd() {
        return ended == false && scans == 1 && progressive == false;
    }

    /** Return the size of the coefficients, which a decoder keeps when a picture comes in several scans. */
    long coefficients() {
        return progressive || scans > 1 ? 2L * components * ((width + 31L) / 32 * 32) * ((height + 31L) / 32 * 32) : 0;
    }

    private static int two(byte[] data, int at) {
        return (data[at] & 0xFF) << 8 | data[at + 1] & 0xFF;
    }
}
