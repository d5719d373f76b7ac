package org.crosslens.server.encode.formats;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;
import org.crosslens.server.encode.formats.TiffLayout.Kind;

/** TIFF whose strips or tiles are JPEGs, with common tables or without (source: TIFF Technical Note 2). */
final class TiffJpeg {

    static final int COMPRESSION = 7;
    private static final int SOI = 0xD8, EOI = 0xD9;
    /** A JPEG may be padded to whole blocks. */
    private static final int PADDED = 32;

    private final byte[] data;
    private final TiffTags tags;
    private final TiffLayout layout;
    private final TiffStrips strips;
    private final Runnable check;

    private TiffJpeg(byte[] data, TiffTags tags, TiffLayout layout, Runnable check) {
        this.data = data;
        this.tags = tags;
        this.layout = layout;
        this.check = check;
        strips = new TiffStrips(data, tags, layout, check);
    }

    /** Reads the headers of all JPEGs. Throws {@link ImageException} where one is larger than its tile. */
    static Pending start(byte[] data, TiffTags tags, TiffLayout layout, int orientation, Runnable check) {
        boolean meant = layout.samples() == layout.colourSamples() && layout.isLab() == false && layout.photometric() != TiffLayout.PALETTE;
        if (layout.bits() != 8 || layout.kind() != Kind.UNSIGNED || layout.planar() || meant == false) {
            throw new ImageException("a TIFF of " + layout.words() + " under JPEG compression is not read");
        }
        TiffJpeg jpeg = new TiffJpeg(data, tags, layout, check);
        long piece = jpeg.checked();
        return new Pending(layout.width(), layout.height(), piece, 1, orientation, jpeg::decoded);
    }

    /** Return the memory of the largest piece. */
    private long checked() {
        if (tags.has(TiffTags.JPEG_TABLES)) {
            int from = tags.from(TiffTags.JPEG_TABLES);
            JpegFrame frame = JpegFrame.of(data, from, from + tags.count(TiffTags.JPEG_TABLES));
            if (frame.components() > 0 || frame.scans() > 0) {
                throw new ImageException("a TIFF whose JPEG tables hold a picture");
            }
        }
        long most = 0;
        for (int piece = 0; piece < strips.parts * strips.units(); piece++) {
            JpegFrame frame = JpegFrame.of(data, strips.offset(piece), strips.offset(piece) + strips.length(piece));
            if (frame.width() > strips.across + PADDED || frame.height() > strips.down + PADDED) {
                throw new ImageException("a TIFF with a JPEG larger than its tile");
            }
            if (frame.components() != layout.samples()) {
                throw new ImageException("a TIFF with a JPEG of " + frame.components() + " colours instead of " + layout.samples());
            }
            long pixels = (long) frame.width() * frame.height();
            most = Math.max(most, pixels * (3 + layout.samples()) + frame.coefficients() + 2L * strips.length(piece));
        }
        return most;
    }

    private Picture decoded() throws IOException {
        byte[] rgb = new byte[layout.width() * layout.height() * 3];
        for (int piece = 0; piece < strips.parts * strips.units(); piece++) {
            int left = piece % strips.parts * strips.across, top = piece / strips.parts * strips.down;
            check.run();
            Picture part = part(piece);
            int columns = Math.min(Math.min(part.width(), strips.across), layout.width() - left);
            int rows = Math.min(strips.down, layout.height() - top);
            if (part.width() < columns || part.height() < rows || part.width() < Math.min(strips.across, layout.width() - left)) {
                throw new ImageException("a TIFF with a JPEG smaller than its tile");
            }
            for (int y = 0; y < rows; y++) {
                System.arraycopy(part.rgb(), y * part.width() * 3, rgb, ((top + y) * layout.width() + left) * 3, columns * 3);
            }
        }
        return new Picture(layout.width(), layout.height(), rgb);
    }

    private Picture part(int piece) throws IOException {
        int from = strips.offset(piece), end = from + strips.length(piece);
        ByteArrayOutputStream whole = new ByteArrayOutputStream(end - from);
        whole.write(0xFF);
        whole.write(SOI);
        if (tags.has(TiffTags.JPEG_TABLES)) {
            int tables = tags.from(TiffTags.JPEG_TABLES), length = tags.count(TiffTags.JPEG_TABLES);
            boolean ended = length >= 4 && is(tables + length - 2, EOI);
            whole.write(data, tables + (is(tables, SOI) ? 2 : 0), Math.max(0, length - (is(tables, SOI) ? 2 : 0) - (ended ? 2 : 0)));
        }
        int start = is(from, SOI) ? from + 2 : from;
        whole.write(data, start, Math.max(0, end - start));
        JpegPixels pixels = Decoders.use(Format.JPEG, new ImageBytes(whole.toByteArray(), check), JpegPixels::of);
        Picture picture = pixels.picture(JpegPixels.Inks.PLAIN);
        if (layout.photometric() == TiffLayout.YCC) {
            return Ycc.toRgb(picture);
        }
        if (layout.photometric() == TiffLayout.WHITE_IS_ZERO) {
            for (int i = 0; i < picture.rgb().length; i++) {
                picture.rgb()[i] = (byte) ~picture.rgb()[i];
            }
        }
        return picture;
    }

    private boolean is(int at, int marker) {
        return at + 1 < data.length && (data[at] & 0xFF) == 0xFF && (data[at + 1] & 0xFF) == marker;
    }
}
