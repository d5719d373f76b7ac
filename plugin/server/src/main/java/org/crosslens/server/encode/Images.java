package org.crosslens.server.encode;

import java.io.IOException;
import org.crosslens.server.encode.formats.Format;
import org.crosslens.server.encode.formats.Naming;
import org.crosslens.server.encode.formats.Pending;
import org.elasticsearch.ElasticsearchException;

/**
 * Opening images of unknown origin: what comes out is an upright, opaque RGB picture, or an {@link ImageException}.
 *
 * <p>The pixels are those that the Python package's {@code crosslens.ingest.sources.images} gives: the orientation from EXIF
 * or XMP is applied, transparency lies on white, wide samples are scaled, colour profiles are ignored, an animation gives its
 * first frame. The format shows in the file's first bytes.
 */
public final class Images {

    /** The first bytes by which a file is judged. */
    public static final int BEGINNING = Naming.LOOKED_AT;

    /** Decoders are stopped after this long. */
    private static final long DECODING_NANOS = 30_000_000_000L;

    private Images() {}

    /** Whether the first bytes are those of a format that is read. */
    public static boolean isImage(byte[] data) {
        return Format.of(data) != null;
    }

    /** Throws {@link ImageException} where a file that begins so is no image that is read. */
    public static void requireImage(byte[] beginning) {
        Format.required(beginning);
    }

    /**
     * The picture in the encoded bytes.
     *
     * <p>A JPEG is reduced to a half, a quarter or an eighth where that leaves both sides at least twice {@code target}
     * pixels (0: never). Pixels are counted and the headers' other claims checked before any pixel is decoded, and the
     * memory is reserved from {@code budget}, which may refuse. Throws {@link ImageException} for an empty, corrupt or
     * truncated file, another format, too many pixels, or a file that asks for far more work than its pixels justify.
     */
    public static Picture open(byte[] data, int target, long maxPixels, Budget budget) {
        Format format = Format.required(data);
        long until = System.nanoTime() + DECODING_NANOS;
        Runnable check = () -> {
            budget.check();
            if (System.nanoTime() - until > 0) {
                throw new ImageException("the image takes more than " + DECODING_NANOS / 1_000_000_000 + " s to decode");
            }
        };
        try {
            Pending pending = format.start(data, target, check);
            if (pending.pixels() > maxPixels) {
                throw new ImageException(
                    pending.width() + " x " + pending.height() + " pixels are more than the " + maxPixels + " allowed"
                );
            }
            budget.reserve(pending.needed() + data.length);
            Picture picture = pending.load();
            check.run();
            return picture;
        } catch (ImageException e) {
            throw e;
        } catch (StackOverflowError e) {
            // Of one picture's decoder, which a hostile file drove there: no state of the node's is lost with it.
            throw new ImageException("the image is nested too deeply to decode", e);
        } catch (IOException | RuntimeException e) {
            // The budget's exceptions are not the image's fault.
            if (e instanceof ElasticsearchException known) {
                throw known;
            }
            // Decoders wrap the exceptions of a stream that ended them.
            check.run();
            // Decoders raise almost anything on hostile input.
            throw new ImageException("the image can't be decoded: " + reason(data, format, e), e);
        }
    }

    private static String reason(byte[] data, Format format, Exception error) {
        return Naming.cutOff(data, format)
            ? "the " + format + " is cut off after " + data.length + " bytes, as half a download is"
            : "damaged " + format + " (" + error.getClass().getSimpleName() + ": " + error.getMessage() + ")";
    }
}
