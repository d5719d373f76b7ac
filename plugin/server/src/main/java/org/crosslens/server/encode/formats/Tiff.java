package org.crosslens.server.encode.formats;

import java.util.Map;
import org.crosslens.server.encode.ImageException;

/** TIFF and BigTIFF: samples of any kind without a codec of their own, faxes by Java's decoder, and JPEGs. */
final class Tiff {

    private static final int FAX_1D = 2, FAX_3 = 3, FAX_4 = 4;
    private static final Map<Integer, String> NOT_READ = Map.of(
        6, "JPEG of the old style", 34661, "JBIG", 34712, "JPEG 2000", 34887, "LERC", 34925, "LZMA", 50000, "Zstandard", 50001, "WebP",
        50002, "JPEG XL"
    );

    private Tiff() {}

    /** Reads the directory. Throws {@link ImageException} where tiles or samples need far more than the pixels justify. */
    static Pending start(byte[] data, Runnable check) {
        if (data.length < 16) {
            throw new ImageException("the image is truncated (no TIFF directory)");
        }
        TiffTags tags = new TiffTags(data);
        int compression = tags.one(TiffTags.COMPRESSION, Unpacking.NONE);
        if (NOT_READ.containsKey(compression)) {
            throw new ImageException(
                "a TIFF under compression " + NOT_READ.get(compression) + " is not read in the cluster (the crosslens command may read it)"
            );
        }
        TiffLayout layout = TiffLayout.of(tags);
        int orientation = tags.one(TiffTags.ORIENTATION, 0);
        if (orientation == 0 && tags.has(TiffTags.XMP)) {
            orientation = Orientation.ofXmp(data, tags.from(TiffTags.XMP), tags.count(TiffTags.XMP));
        }
        int turn = orientation >= 1 && orientation <= 8 ? orientation : Orientation.NONE;
        if (compression == TiffJpeg.COMPRESSION) {
            return TiffJpeg.start(data, tags, layout, turn, check);
        }
        if (compression == FAX_1D || compression == FAX_3 || compression == FAX_4) {
            return fax(data, tags, layout, turn, check);
        }
        if (Unpacking.KNOWN.contains(compression) == false) {
            throw new ImageException("a TIFF under compression " + compression + " is not read");
        }
        TiffSamples samples = new TiffSamples(new TiffStrips(data, tags, layout, check), layout);
        long memory = TiffPicture.memory(layout, samples) + data.length;
        return new Pending(layout.width(), layout.height(), memory, 1, turn, () -> TiffPicture.of(tags, layout, samples));
    }

    private static Pending fax(byte[] data, TiffTags tags, TiffLayout layout, int turn, Runnable check) {
        boolean meant = tags.has(TiffTags.PHOTOMETRIC) && layout.photometric() <= TiffLayout.BLACK_IS_ZERO;
        if (layout.bits() != 1 || layout.samples() != 1 || meant == false) {
            throw new ImageException("a TIFF of " + layout.words() + " under fax compression is not read");
        }
        TiffStrips strips = new TiffStrips(data, tags, layout, check);
        strips.requireWhole();
        long memory = (long) layout.width() * layout.height() + 3L * strips.across * strips.down;
        return new Pending(layout.width(), layout.height(), memory, 1, turn, () ->
            Flat.of(Decoders.use(Format.TIFF, tags.ofFax(check), reader -> reader.read(0)))
        );
    }
}
