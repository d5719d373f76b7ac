package org.crosslens.server.encode.formats;

import com.luciad.imageio.webp.WebPImageReaderSpi;
import java.io.IOException;
import java.util.Iterator;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import org.crosslens.server.encode.ImageException;

/** Java's own decoders and, for WebP, libwebp, which Pillow also has. */
final class Decoders {

    /** Warnings of damaged pixels, of which each decoder makes something else; bytes too many between segments do no harm. */
    private static final Pattern DAMAGED = Pattern.compile("runcated|premature|Huffman|instead of RST|before marker 0xd[0-7]");

    /** What is done with a decoder that reads a file. */
    @FunctionalInterface
    interface Use<T> {
        T with(ImageReader reader) throws IOException;
    }

    private Decoders() {}

    /** Return what {@code use} makes of the file; throws {@link IOException} where the decoder warns that pixels are damaged. */
    static <T> T use(Format format, ImageBytes file, Use<T> use) throws IOException {
        ImageReader reader = reader(format);
        String[] damaged = { null };
        reader.addIIOReadWarningListener((source, warning) -> {
            if (DAMAGED.matcher(warning).find()) {
                damaged[0] = warning;
            }
        });
        try (file) {
            reader.setInput(file, format != Format.TIFF, true);
            T result = use.with(reader);
            if (damaged[0] != null) {
                throw new IOException(damaged[0]);
            }
            return result;
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
}
