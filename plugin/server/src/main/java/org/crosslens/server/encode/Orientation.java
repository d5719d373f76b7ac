package org.crosslens.server.encode;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The EXIF orientation, 1 to 8: how a camera was held (source: CIPA DC-008, Exif 2.32, tag 0x0112). */
final class Orientation {

    static final int UPRIGHT = 1;
    private static final int TAG = 0x0112;
    private static final int ENTRY = 12;
    // No camera writes a directory of more entries.
    private static final int MOST_ENTRIES = 1024;

    private Orientation() {}

    /** The orientation in a TIFF structure, which EXIF data are; {@link #UPRIGHT} for none or a broken one. */
    static int of(ByteBuffer tiff) {
        try {
            ByteBuffer data = tiff.slice();
            int mark = data.getShort() & 0xFFFF;
            if (mark != 0x4949 && mark != 0x4D4D) {
                return UPRIGHT;
            }
            data.order(mark == 0x4949 ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
            data.position(4);
            data.position(data.getInt());
            int entries = Math.min(data.getShort() & 0xFFFF, MOST_ENTRIES), start = data.position();
            for (int i = 0; i < entries; i++) {
                data.position(start + i * ENTRY);
                if ((data.getShort() & 0xFFFF) == TAG) {
                    data.position(start + i * ENTRY + 8);
                    int value = data.getShort() & 0xFFFF;
                    return value >= 1 && value <= 8 ? value : UPRIGHT;
                }
            }
            return UPRIGHT;
        } catch (BufferUnderflowException | IllegalArgumentException e) {
            // Pillow too takes a picture whose EXIF data are broken as upright.
            return UPRIGHT;
        }
    }

    /** The picture turned and mirrored so that it is upright. */
    static Picture upright(Picture picture, int orientation) {
        if (orientation == UPRIGHT) {
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
