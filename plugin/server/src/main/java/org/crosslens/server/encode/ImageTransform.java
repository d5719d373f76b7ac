package org.crosslens.server.encode;

import java.util.List;
import java.util.Map;

/**
 * From a picture to the pixel tensor that a checkpoint was trained on, as its preprocessor_config.json says.
 *
 * <p>The steps and their order are those of transformers' PIL image processors (resize, centre crop, rescale,
 * normalize), as in the Python package's {@code crosslens.ingest.transform}. Sizes in pixels. {@code shortestEdge} (0:
 * none) keeps the aspect ratio, {@code width} and {@code height} (0: none) stretch; {@code cropWidth} 0 means no crop.
 */
public record ImageTransform(
    int shortestEdge,
    int height,
    int width,
    Resampler.Filter filter,
    int cropHeight,
    int cropWidth,
    float[] multiplier,
    float[] addend
) {

    private static final int CHANNELS = 3;

    /** Reads a preprocessor_config.json; throws {@link ModelException} where it asks for what isn't done here. */
    static ImageTransform parse(Map<String, Object> config) {
        Object named = config.get("image_processor_type") != null ? config.get("image_processor_type") : config.get("feature_extractor_type");
        String kind = named == null ? "CLIPImageProcessor" : named.toString();
        if (kind.contains("Siglip2")) {
            throw new ModelException(kind + " gives patches of varying number; export the checkpoint with crosslens");
        }
        boolean clip = kind.contains("CLIP"), efficient = kind.contains("EfficientNet") || kind.contains("Align");
        int[] size = size(config.get("size"), clip);
        int[] crop = Json.flag(config, "do_center_crop", false) ? size(config.get("crop_size"), false) : new int[3];
        if (Json.flag(config, "do_resize", true) == false) {
            size = new int[3];
        }
        if (crop[2] == 0 && size[2] == 0) {
            throw new ModelException(
                "preprocessor_config.json gives pictures no fixed size (neither a crop nor height and width)"
            );
        }
        boolean rescales = Json.flag(config, "do_rescale", true), normalizes = Json.flag(config, "do_normalize", true);
        double[] mean = normalizes ? three(config.get("image_mean")) : new double[] { 0, 0, 0 };
        double[] std = normalizes ? three(config.get("image_std")) : new double[] { 1, 1, 1 };
        Number factor = Json.number(config, "rescale_factor");
        double scale = rescales ? factor == null ? 1 / 255.0 : factor.doubleValue() : 1.0;
        double offset = efficient && rescales && Json.flag(config, "rescale_offset", false) ? 1.0 : 0.0;
        boolean twice = efficient && normalizes && Json.flag(config, "include_top", true);
        float[] multiplier = new float[CHANNELS], addend = new float[CHANNELS];
        for (int c = 0; c < CHANNELS; c++) {
            double m = scale / std[c], a = (-offset - mean[c]) / std[c];
            multiplier[c] = (float) (twice ? m / std[c] : m);
            addend[c] = (float) (twice ? a / std[c] : a);
        }
        Number resample = Json.number(config, "resample");
        int code = resample != null ? resample.intValue() : clip ? 3 : 2;
        return new ImageTransform(
            size[0],
            size[1],
            size[2],
            Resampler.Filter.of(code),
            crop[1],
            crop[2],
            multiplier,
            addend
        );
    }

    /** Height of the tensor. */
    public int outputHeight() {
        return cropHeight > 0 ? cropHeight : height;
    }

    /** Width of the tensor. */
    public int outputWidth() {
        return cropWidth > 0 ? cropWidth : width;
    }

    /** The longer side that pictures are resized to; what a reduced decoding must not go below. */
    public int resizeTarget() {
        return shortestEdge > 0 ? shortestEdge : width > 0 ? Math.max(width, height) : Math.max(outputWidth(), outputHeight());
    }

    /** How many numbers the tensor of one picture has: 3 x height x width. */
    public int outputLength() {
        return CHANNELS * outputHeight() * outputWidth();
    }

    /** The bytes that {@link #apply} takes at most for a picture of this size, the tensor not counted. */
    long working(int pictureWidth, int pictureHeight) {
        Part part = part(pictureWidth, pictureHeight);
        return Resampler.working(pictureWidth, pictureHeight, part, filter);
    }

    /**
     * The tensor [3, height, width] of a picture, channel after channel. Only what the crop keeps is resized, so the work
     * is bounded by the picture and the tensor, whatever the picture's shape.
     */
    public float[] apply(Picture picture) {
        return normalize(Resampler.resize(picture, part(picture.width(), picture.height()), filter));
    }

    /** What is kept of a picture: a part, of the size of the tensor or less, of the picture resized. */
    private Part part(int pictureWidth, int pictureHeight) {
        long resizedWidth = pictureWidth, resizedHeight = pictureHeight;
        if (shortestEdge > 0) {
            int shorter = Math.min(pictureWidth, pictureHeight), longer = Math.max(pictureWidth, pictureHeight);
            // Rounded down, as in transformers.
            long other = (long) ((double) ((long) shortestEdge * longer) / shorter);
            resizedWidth = pictureWidth <= pictureHeight ? shortestEdge : other;
            resizedHeight = pictureWidth <= pictureHeight ? other : shortestEdge;
        } else if (width > 0) {
            resizedWidth = width;
            resizedHeight = height;
        }
        int columns = (int) (cropWidth > 0 ? Math.min(resizedWidth, cropWidth) : resizedWidth);
        int rows = (int) (cropHeight > 0 ? Math.min(resizedHeight, cropHeight) : resizedHeight);
        return new Part(resizedWidth, resizedHeight, (resizedWidth - columns) / 2, (resizedHeight - rows) / 2, columns, rows);
    }

    /** A part of {@code columns} x {@code rows} at {@code left}, {@code top} of a picture resized to {@code width} x {@code height}. */
    record Part(long width, long height, long left, long top, int columns, int rows) {

        static Part whole(int width, int height) {
            return new Part(width, height, 0, 0, width, height);
        }
    }

    /** Pads a smaller picture with black, as in transformers, scales and shifts. */
    private float[] normalize(Picture picture) {
        int rows = outputHeight(), columns = outputWidth();
        int top = ceilHalf(rows - picture.height()), left = ceilHalf(columns - picture.width());
        float[] tensor = new float[outputLength()];
        byte[] rgb = picture.rgb();
        for (int c = 0; c < CHANNELS; c++) {
            float m = multiplier[c], a = addend[c];
            int out = c * rows * columns;
            for (int y = -top; y < rows - top; y++) {
                boolean inside = y >= 0 && y < picture.height();
                for (int x = -left; x < columns - left; x++, out++) {
                    int value = inside && x >= 0 && x < picture.width() ? rgb[(y * picture.width() + x) * CHANNELS + c] & 0xFF : 0;
                    tensor[out] = value * m + a;
                }
            }
        }
        return tensor;
    }

    private static int ceilHalf(int missing) {
        return missing > 0 ? (missing + 1) / 2 : 0;
    }

    /** {shortest edge, height, width}; a bare number means whichever the processor's kind means. */
    private static int[] size(Object value, boolean shortest) {
        if (value instanceof Number number) {
            return shortest
                ? new int[] { number.intValue(), 0, 0 }
                : new int[] { 0, number.intValue(), number.intValue() };
        }
        if (value instanceof Map<?, ?> map) {
            if (map.get("shortest_edge") instanceof Number edge && map.containsKey("longest_edge") == false) {
                return new int[] { edge.intValue(), 0, 0 };
            }
            if (map.get("height") instanceof Number height && map.get("width") instanceof Number width) {
                return new int[] { 0, height.intValue(), width.intValue() };
            }
        }
        throw new ModelException("preprocessor_config.json: size " + value + " is not one that crosslens knows");
    }

    private static double[] three(Object value) {
        if (value instanceof List<?> list && list.size() == CHANNELS) {
            double[] numbers = new double[CHANNELS];
            for (int i = 0; i < CHANNELS; i++) {
                numbers[i] = ((Number) list.get(i)).doubleValue();
            }
            return numbers;
        }
        throw new ModelException("preprocessor_config.json: image_mean and image_std must be three numbers, not " + value);
    }
}
