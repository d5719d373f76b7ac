package org.crosslens.server.encode;

import com.luciad.imageio.webp.WebPImageReaderSpi;
import java.awt.image.BufferedImage;
import java.awt.image.DataBuffer;
import java.awt.image.DataBufferByte;
import java.awt.image.IndexColorModel;
import java.awt.image.PixelInterleavedSampleModel;
import java.awt.image.Raster;
import java.awt.image.SampleModel;
import java.io.IOException;
import java.util.Arrays;
import java.util.Iterator;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import org.crosslens.server.encode.Container.Format;
import org.elasticsearch.ElasticsearchException;

/**
 * Opening images of unknown origin: what comes out is an upright, opaque RGB picture, or an {@link ImageException}.
 *
 * <p>The pixels are those that the Python package's {@code crosslens.ingest.images} gives: EXIF orientation is applied,
 * transparency lies on white, 16-bit greys are scaled, colour profiles are ignored, an animation gives its first frame.
 * Decoders are Java's own and, for WebP, libwebp (which Pillow also has), chosen by the file's first bytes.
 */
public final class Images {

    /** Decoders are stopped after this long. */
    private static final long DECODING_NANOS = 30_000_000_000L;

    private Images() {}

    /** Whether the first bytes are those of a format that is read. */
    public static boolean isImage(byte[] data) {
        return Container.formatOf(data) != null;
    }

    /** Throws {@link ImageException} where a file that begins so is no image that is read. */
    public static void requireImage(byte[] beginning) {
        if (beginning.length == 0) {
            throw new ImageException("the image is empty");
        }
        Container.requireFormat(beginning);
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
        if (data.length == 0) {
            throw new ImageException("the image is empty");
        }
        long until = System.nanoTime() + DECODING_NANOS;
        Runnable check = () -> {
            budget.check();
            if (System.nanoTime() - until > 0) {
                throw new ImageException("the image takes more than " + DECODING_NANOS / 1_000_000_000 + " s to decode");
            }
        };
        try {
            return open(Container.of(data), data.length, target, maxPixels, budget, check);
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
            throw new ImageException("the image can't be decoded (" + e.getClass().getSimpleName() + ": " + e.getMessage() + ")", e);
        }
    }

    private static Picture open(Container container, int length, int target, long maxPixels, Budget budget, Runnable check)
        throws IOException {
        Claims claims = Claims.of(container);
        ImageReader reader = reader(container.format());
        String[] truncated = { null };
        reader.addIIOReadWarningListener((source, warning) -> {
            if (warning.contains("runcated") || warning.contains("premature")) {
                truncated[0] = warning;
            }
        });
        try (ImageInputStream in = claims.stream(check)) {
            reader.setInput(in, container.format() != Format.TIFF, container.format() != Format.GIF);
            int width = reader.getWidth(0), height = reader.getHeight(0);
            Canvas canvas = container.format() == Format.GIF ? Canvas.ofGif(reader, container.data()) : container.canvas();
            long pixels = Math.max((long) width * height, canvas == null ? 0 : (long) canvas.width() * canvas.height());
            if (pixels > maxPixels) {
                throw new ImageException(width + " x " + height + " pixels are more than the " + maxPixels + " allowed");
            }
            boolean copied = canvas != null || container.orientation() != Orientation.UPRIGHT;
            budget.reserve(claims.decoding(width, height) + pixels * (copied ? 6 : 3) + length);
            Picture picture = container.format() == Format.JPEG
                ? jpeg(reader, container, target)
                : flatten(container.format() == Format.WEBP ? webp(reader) : reader.read(0));
            if (truncated[0] != null) {
                throw new ImageException("the image is truncated (" + truncated[0] + ")");
            }
            check.run();
            return Orientation.upright(canvas == null ? picture : canvas.place(picture), container.orientation());
        } finally {
            reader.dispose();
        }
    }

    private static ImageReader reader(Format format) {
        if (format == Format.WEBP) {
            return new WebPImageReaderSpi().createReaderInstance(null);
        }
        Iterator<ImageReader> readers = ImageIO.getImageReadersByFormatName(format.name());
        if (readers.hasNext() == false) {
            throw new ImageException("this Java has no decoder for " + format);
        }
        return readers.next();
    }

    /** For some damaged files libwebp reports that it is out of memory, which its bridge throws as an OutOfMemoryError. */
    private static BufferedImage webp(ImageReader reader) throws IOException {
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

    /** Pillow's {@code draft} chooses so; the mean of a block is what a decoder that reduces computes, or nearly. */
    private static int reduction(int possible) {
        return possible >= 8 ? 8 : possible >= 4 ? 4 : possible >= 2 ? 2 : 1;
    }

    /**
     * The components as they are stored, reduced if that is wanted, and only then turned into colours: the reader's own
     * way takes half as long again, and guesses otherwise than libjpeg where a file doesn't declare its colours.
     */
    private static Picture jpeg(ImageReader reader, Container container, int target) throws IOException {
        Raster raster = reader.readRaster(0, null);
        int width = raster.getWidth(), height = raster.getHeight();
        int factor = target > 0 ? reduction(Math.min(width, height) / (2 * target)) : 1;
        byte[] components = asItLies(raster);
        if (components == null) {
            components = new byte[width * height * 3];
            fill(components, raster, container.colours());
        }
        Picture reduced = new Picture(width, height, components).reduced(factor);
        return raster.getNumBands() == 3 && container.colours().isYcc() ? Ycc.toRgb(reduced) : reduced;
    }

    private static void fill(byte[] components, Raster raster, Container.JpegColours colours) {
        switch (raster.getNumBands()) {
            case 1 -> grey(raster, components);
            case 3 -> {
                if (interleaved(raster, components) == false) {
                    throw new ImageException("a JPEG whose components lie apart");
                }
            }
            case 4 -> cmyk(raster, colours, components);
            default -> throw new ImageException("a JPEG of " + raster.getNumBands() + " colours");
        }
    }

    /** The raster's own bytes where they are three a pixel in their order, else null. */
    private static byte[] asItLies(Raster raster) {
        return raster.getSampleModel() instanceof PixelInterleavedSampleModel model
            && raster.getDataBuffer() instanceof DataBufferByte buffer
            && raster.getParent() == null
            && raster.getNumBands() == 3
            && Arrays.equals(model.getBandOffsets(), new int[] { 0, 1, 2 })
            && model.getScanlineStride() == raster.getWidth() * 3
            && buffer.getOffset() == 0
                ? buffer.getData()
                : null;
    }

    private static void grey(Raster raster, byte[] rgb) {
        int[] row = new int[raster.getWidth()];
        for (int y = 0, at = 0; y < raster.getHeight(); y++) {
            raster.getSamples(0, y, row.length, 1, 0, row);
            for (int value : row) {
                Arrays.fill(rgb, at, at += 3, (byte) value);
            }
        }
    }

    /** As Pillow does: each of red, green and blue is what its complement and black leave. */
    private static void cmyk(Raster raster, Container.JpegColours colours, byte[] rgb) {
        int width = raster.getWidth();
        byte[] pixel = new byte[3];
        int[] row = new int[width * 4];
        for (int y = 0, at = 0; y < raster.getHeight(); y++) {
            raster.getPixels(0, y, width, 1, row);
            for (int x = 0; x < row.length; x += 4, at += 3) {
                for (int i = 0; i < 3; i++) {
                    pixel[i] = (byte) row[x + i];
                }
                if (colours.isYcck()) {
                    Ycc.toRgb(pixel, 0);
                }
                for (int i = 0; i < 3; i++) {
                    int ink = pixel[i] & 0xFF, black = row[x + 3];
                    // Adobe stores the inverse.
                    rgb[at + i] = (byte) (colours.adobe() ? left(255 - ink, 255 - black) : left(ink, black));
                }
            }
        }
    }

    private static Picture flatten(BufferedImage image) {
        Raster raster = image.getRaster();
        int width = raster.getWidth(), height = raster.getHeight();
        byte[] rgb = new byte[width * height * 3];
        if (image.getColorModel() instanceof IndexColorModel palette) {
            int[] colours = new int[palette.getMapSize()];
            palette.getRGBs(colours);
            int[] row = new int[width];
            for (int y = 0, at = 0; y < height; y++) {
                raster.getSamples(0, y, width, 1, 0, row);
                for (int x = 0; x < width; x++, at += 3) {
                    int colour = colours[Math.min(row[x], colours.length - 1)];
                    put(rgb, at, colour >> 16 & 0xFF, colour >> 8 & 0xFF, colour & 0xFF, colour >>> 24);
                }
            }
            return new Picture(width, height, rgb);
        }
        if (interleaved(raster, rgb)) {
            return new Picture(width, height, rgb);
        }
        boolean floats = raster.getTransferType() == DataBuffer.TYPE_FLOAT || raster.getTransferType() == DataBuffer.TYPE_DOUBLE;
        int bands = raster.getNumBands();
        if (bands > 4 || floats && bands != 1) {
            throw new ImageException("an image of " + bands + " bands is not read");
        }
        if (floats) {
            return greys(raster, rgb);
        }
        int bits = raster.getSampleModel().getSampleSize(0);
        boolean cmyk = bands == 4 && image.getColorModel().hasAlpha() == false;
        boolean premultiplied = bands % 2 == 0 && image.isAlphaPremultiplied();
        int[] row = new int[width * bands];
        for (int y = 0, at = 0; y < height; y++) {
            raster.getPixels(0, y, width, 1, row);
            for (int x = 0; x < row.length; x += bands, at += 3) {
                // One band of 16 bits is scaled, several lose their lower byte: as Pillow has it.
                int red = eight(row[x], bits, bands == 1);
                int green = bands < 3 ? red : eight(row[x + 1], bits, false);
                int blue = bands < 3 ? red : eight(row[x + 2], bits, false);
                int alpha = bands % 2 == 0 ? eight(row[x + bands - 1], bits, false) : 255;
                if (cmyk) {
                    put(rgb, at, left(red, alpha), left(green, alpha), left(blue, alpha), 255);
                    continue;
                }
                if (premultiplied && alpha > 0) {
                    red = Math.min(255, red * 255 / alpha);
                    green = Math.min(255, green * 255 / alpha);
                    blue = Math.min(255, blue * 255 / alpha);
                }
                put(rgb, at, red, green, blue, alpha);
            }
        }
        return new Picture(width, height, rgb);
    }

    /** The common case, three bytes a pixel in any order: copied without a detour. */
    private static boolean interleaved(Raster raster, byte[] rgb) {
        SampleModel model = raster.getSampleModel();
        if (model instanceof PixelInterleavedSampleModel == false
            || raster.getNumBands() != 3
            || raster.getDataBuffer() instanceof DataBufferByte == false
            || raster.getParent() != null) {
            return false;
        }
        PixelInterleavedSampleModel pixels = (PixelInterleavedSampleModel) model;
        byte[] data = ((DataBufferByte) raster.getDataBuffer()).getData();
        int[] offsets = pixels.getBandOffsets();
        int step = pixels.getPixelStride(), start = raster.getDataBuffer().getOffset();
        for (int y = 0, at = 0; y < raster.getHeight(); y++) {
            int from = start + y * pixels.getScanlineStride();
            for (int x = 0; x < raster.getWidth(); x++, from += step, at += 3) {
                rgb[at] = data[from + offsets[0]];
                rgb[at + 1] = data[from + offsets[1]];
                rgb[at + 2] = data[from + offsets[2]];
            }
        }
        return true;
    }

    /** Greys from floating-point samples: 0 to 1, 0 to 255, or from the least to the largest, whichever holds them. */
    private static Picture greys(Raster raster, byte[] rgb) {
        double[] samples = raster.getSamples(0, 0, raster.getWidth(), raster.getHeight(), 0, (double[]) null);
        double low = 0, high = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < samples.length; i++) {
            samples[i] = Double.isFinite(samples[i]) ? samples[i] : 0;
            low = Math.min(low, samples[i]);
            high = Math.max(high, samples[i]);
        }
        double full = high <= 1 ? 1 : high <= 255 ? 255 : high, scale = 255 / Math.max(full - low, 1e-9);
        for (int i = 0; i < samples.length; i++) {
            byte grey = (byte) Math.max(0, Math.min(255, (samples[i] - low) * scale));
            Arrays.fill(rgb, i * 3, i * 3 + 3, grey);
        }
        return new Picture(raster.getWidth(), raster.getHeight(), rgb);
    }

    /** What ink and black leave of white. */
    private static int left(int ink, int black) {
        return ((255 - ink) * (255 - black) + 127) / 255;
    }

    private static int eight(int sample, int bits, boolean scaled) {
        if (bits == 8) {
            return sample;
        }
        if (bits > 8) {
            return scaled ? (int) Math.round(sample * 255.0 / ((1L << bits) - 1)) : sample >> bits - 8;
        }
        return sample * 255 / ((1 << bits) - 1);
    }

    private static void put(byte[] rgb, int at, int red, int green, int blue, int alpha) {
        rgb[at] = over(red, alpha);
        rgb[at + 1] = over(green, alpha);
        rgb[at + 2] = over(blue, alpha);
    }

    private static byte over(int colour, int alpha) {
        return (byte) (alpha == 255 ? colour : (colour * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}
