package org.crosslens.server.encode.formats;

import java.util.Arrays;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** A PNG's text chunks: an orientation may stand in an XMP packet, or in a "Raw profile type exif", "APP1" or "xmp". */
final class PngTexts {

    private static final String XMP = "XML:com.adobe.xmp", RAW = "raw profile type ";
    // Enough for an XMP packet or an EXIF block without a thumbnail; a longer text is read this far.
    private static final int MOST_TEXT = 1 << 20;
    // Each may hold a thousand times as much as it takes; no program writes this many.
    private static final int MOST_TEXTS = 16;

    private int read;

    /** The orientation in the chunk whose kind stands at {@code at}, with {@code length} bytes of content. */
    int orientation(byte[] data, int at, int length) {
        boolean plain = Bytes.starts(data, at, "tEXt"), packed = Bytes.starts(data, at, "zTXt");
        if (plain == false && packed == false && Bytes.starts(data, at, "iTXt") == false) {
            return Orientation.NONE;
        }
        int from = at + 4, end = from + length, keyword = until(data, from, end);
        String name = Bytes.latin(data, from, Math.min(keyword - from, 100));
        boolean xmp = name.equals(XMP);
        if (xmp == false && name.regionMatches(true, 0, RAW, 0, RAW.length()) == false || read++ >= MOST_TEXTS) {
            return Orientation.NONE;
        }
        int text = keyword + 1;
        if (packed) {
            text++;
        } else if (plain == false) {
            // A flag and a method of compression, then language and translated keyword.
            packed = text < end && data[text] == 1;
            text = until(data, until(data, text + 2, end) + 1, end) + 1;
        }
        if (text >= end) {
            return Orientation.NONE;
        }
        byte[] content = packed ? inflated(data, text, end - text) : Arrays.copyOfRange(data, text, Math.min(end, text + MOST_TEXT));
        return xmp ? Orientation.ofXmp(content, 0, content.length) : Orientation.ofRawProfile(content);
    }

    /** The place of the next zero byte, or {@code end}. */
    private static int until(byte[] data, int from, int end) {
        int at = from;
        while (at < end && data[at] != 0) {
            at++;
        }
        return Math.min(at, end);
    }

    private static byte[] inflated(byte[] data, int from, int length) {
        byte[] text = new byte[MOST_TEXT];
        Inflater inflater = new Inflater();
        try {
            inflater.setInput(data, from, length);
            int size = 0, more;
            while (size < text.length && (more = inflater.inflate(text, size, text.length - size)) > 0) {
                size += more;
            }
            return Arrays.copyOf(text, size);
        } catch (DataFormatException e) {
            // Metadata decide nothing but the orientation.
            return new byte[0];
        } finally {
            inflater.end();
        }
    }
}
