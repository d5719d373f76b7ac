package org.crosslens.server.encode.formats;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.crosslens.server.encode.Picture;

/** How a camera was held, 1 to 8, or {@link #NONE}: the only metadata that is read. A broken block says nothing. */
final class Orientation {

    static final int NONE = 0, UPRIGHT = 1;
    private static final int TAG = 0x0112;
    private static final int ENTRY = 12;
    // No camera writes a directory of more entries.
    private static final int MOST_ENTRIES = 1024;
    private static final int BYTE = 1, LONG = 4;
    private static final Pattern XMP = Pattern.compile("Orientation\\s*(?:=\\s*[\"']|>)\\s*([1-8])\\s*[\"'<]");

    private Orientation() {}

    /** The orientation in an EXIF block, with or without its "Exif" mark (source: CIPA DC-008, Exif 2.32, tag 0x0112). */
    static int ofExif(byte[] data, int from, int length) {
        boolean marked = length >= 6 && Bytes.starts(data, from, "Exif\0");
        return ofTiff(ByteBuffer.wrap(data, marked ? from + 6 : from, marked ? length - 6 : length));
    }

    private static int ofTiff(ByteBuffer tiff) {
        try {
            ByteBuffer data = tiff.slice();
            int mark = data.getShort() & 0xFFFF;
            if (mark != 0x4949 && mark != 0x4D4D) {
                return NONE;
            }
            data.order(mark == 0x4949 ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
            data.position(4);
            data.position(data.getInt());
            int entries = Math.min(data.getShort() & 0xFFFF, MOST_ENTRIES), start = data.position();
            for (int i = 0; i < entries; i++) {
                data.position(start + i * ENTRY);
                int tag = data.getShort() & 0xFFFF, type = data.getShort() & 0xFFFF;
                if (tag == TAG) {
                    data.position(start + i * ENTRY + 8);
                    long value = type == BYTE ? data.get() & 0xFF : type == LONG ? data.getInt() & 0xFFFFFFFFL : data.getShort() & 0xFFFF;
                    return value >= 1 && value <= 8 ? (int) value : NONE;
                }
            }
            return NONE;
        } catch (BufferUnderflowException | IllegalArgumentException e) {
            // The block is shorter than it says.
            return NONE;
        }
    }

    /** The orientation in an XMP packet (tiff:Orientation), an attribute or an element. */
    static int ofXmp(byte[] data, int from, int length) {
        Matcher found = XMP.matcher(Bytes.latin(data, from, length).replace("\0", ""));
        return found.find() ? found.group(1).charAt(0) - '0' : NONE;
    }

    /** The orientation in ImageMagick's "Raw profile type exif", "APP1" or "xmp": a length, then hex digits. */
    static int ofRawProfile(byte[] text) {
        StringBuilder digits = new StringBuilder();
        int lines = 0;
        for (byte each : text) {
            if (each == '\n') {
                lines++;
            } else if (lines >= 3 && HexFormat.isHexDigit(each)) {
                digits.append((char) each);
            }
        }
        byte[] block = HexFormat.of().parseHex(digits, 0, digits.length() / 2 * 2);
        int exif = ofExif(block, 0, block.length);
        return exif != NONE ? exif : ofXmp(block, 0, block.length);
    }

    /** The picture turned and mirrored so that it is upright. */
    static Picture upright(Picture picture, int orientation) {
        if (orientation <= UPRIGHT) {
            return picture;
        }
        int width = picture.width(), height = picture.height();
        boolean turned = orientation >= 5;
        int newWidth = turned ? height : width, newHeight = turned ? width : height;
        byte[] in = picture.rgb(), out = new byte[in.length];
        int at = 0;
        for (int y = 0; y < newHeight; y++) {
            for (int x = 0; x < newWidth; x++, at += 3) {
                int fromX = switch (orientation) {
                    case 2, 3 -> width - 1 - x;
                    case 4 -> x;
                    case 5, 6 -> y;
                    default -> width - 1 - y;
                };
                int fromY = switch (orientation) {
                    case 2 -> y;
                    case 3, 4 -> height - 1 - y;
                    case 5, 8 -> x;
                    default -> height - 1 - x;
                };
                int from = (fromY * width + fromX) * 3;
                out[at] = in[from];
                out[at + 1] = in[from + 1];
                out[at + 2] = in[from + 2];
            }
        }
        return new Picture(newWidth, newHeight, out);
    }
}
