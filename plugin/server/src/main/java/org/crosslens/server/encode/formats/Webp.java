package org.crosslens.server.encode.formats;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import javax.imageio.ImageReader;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;

/** WebP: of an animation the first frame (source: developers.google.com/speed/webp/docs/riff_container). */
final class Webp {

    /** libwebp's own pixels, their copy in Java, and libwebp's row and alpha buffers. */
    private static final int BYTES_A_PIXEL = 13;

    /** The still picture to decode, the animation's canvas that it lies on or null, and the orientation. */
    private record Still(byte[] data, Canvas canvas, int orientation) {}

    private record Size(int width, int height) {}

    private Webp() {}

    /** Reads the chunks' headers and the picture's. */
    static Pending start(byte[] data, Runnable check) throws IOException {
        Still still = still(data);
        Size size = Decoders.use(
            Format.WEBP,
            new ImageBytes(still.data, check),
            reader -> new Size(reader.getWidth(0), reader.getHeight(0))
        );
        Canvas canvas = still.canvas;
        int width = canvas == null ? size.width : Math.max(size.width, canvas.width());
        int height = canvas == null ? size.height : Math.max(size.height, canvas.height());
        long decoding = (long) BYTES_A_PIXEL * size.width * size.height + still.data.length;
        return new Pending(width, height, decoding, canvas == null ? 1 : 2, still.orientation, () -> {
            Picture picture = Flat.of(Decoders.use(Format.WEBP, new ImageBytes(still.data, check), Webp::decoded));
            return canvas == null ? picture : canvas.place(picture);
        });
    }

    /** For some damaged files libwebp reports that it is out of memory, which its bridge throws as an OutOfMemoryError. */
    private static BufferedImage decoded(ImageReader reader) throws IOException {
        try {
            return reader.read(0);
        } catch (OutOfMemoryError e) {
            // The virtual machine's own always has a message.
            if (e.getMessage() != null) {
                throw e;
            }
            throw new ImageException("the image can't be decoded (libwebp: out of memory)", e);
        }
    }

    private static Still still(byte[] data) {
        int exif = Orientation.NONE, xmp = Orientation.NONE, at = 12;
        byte[] frame = null;
        Canvas canvas = null;
        while (at + 8 <= data.length) {
            long length = ByteBuffer.wrap(data, at + 4, 4).order(ByteOrder.LITTLE_ENDIAN).getInt() & 0xFFFFFFFFL;
            if (at + 8 + length > data.length) {
                break;
            }
            int content = at + 8;
            if (Bytes.starts(data, at, "VP8X") && length >= 10) {
                canvas = new Canvas(three(data, content + 4) + 1, three(data, content + 7) + 1, 0, 0);
            } else if (Bytes.starts(data, at, "ANMF") && length >= 16 && frame == null && canvas != null) {
                canvas = new Canvas(canvas.width(), canvas.height(), 2 * three(data, content), 2 * three(data, content + 3));
                frame = still(data, content, (int) length);
            } else if (Bytes.starts(data, at, "EXIF") && exif == Orientation.NONE) {
                exif = Orientation.ofExif(data, content, (int) length);
            } else if (Bytes.starts(data, at, "XMP ") && xmp == Orientation.NONE) {
                xmp = Orientation.ofXmp(data, content, (int) length);
            }
            at += (int) (8 + length + length % 2);
        }
        int orientation = exif == Orientation.NONE ? xmp : exif;
        return frame == null ? new Still(data, null, orientation) : new Still(frame, canvas, orientation);
    }

    /** A frame of an animation (an ANMF chunk's content) as a picture of its own. */
    private static byte[] still(byte[] data, int content, int length) {
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
}
