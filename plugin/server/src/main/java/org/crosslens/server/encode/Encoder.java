package org.crosslens.server.encode;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import ai.onnxruntime.platform.Fp16Conversions;
import java.io.Closeable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs the two encoders of a model folder: texts and pictures to unit vectors. The vectors are those of the Python
 * package's {@code crosslens.ingest.encoder}. May be used from several threads; each graph is loaded when first needed.
 *
 * <p>A run is either alone, and then all threads work on it, or one of several at a time with a thread each, which does a
 * quarter more in all. ONNX Runtime fixes that when it loads a graph; so one that is run both ways is loaded twice.
 */
public final class Encoder implements Closeable {

    /** As many inputs run at once; more gain nothing on a CPU. */
    public static final int BATCH = 32;
    private static final List<String> TEXT_OUTPUTS = List.of("text_embeds", "pooler_output", "sentence_embedding");
    private static final List<String> IMAGE_OUTPUTS = List.of("image_embeds", "pooler_output");
    private static final Set<String> TEXT_INPUTS = Set.of("input_ids", "attention_mask", "token_type_ids");

    private final ModelFolder folder;
    private final Compute compute;
    private final Tokenizer tokenizer;
    private final Map<Key, OrtSession> sessions = new ConcurrentHashMap<>();

    private record Key(Path graph, boolean alone) {}

    /** What an encoder is used for: texts or images, by runs that are {@code alone} or one of several. */
    public record Use(boolean texts, boolean alone) {}

    /** Where graphs run, and with how many threads of the processor's a run that is alone. */
    public record Compute(Device device, int threads) {}

    /** Checks the files' hashes. Throws {@link ModelException}. */
    public Encoder(ModelFolder folder, Compute compute) {
        folder.verify();
        this.folder = folder;
        this.compute = compute;
        this.tokenizer = new Tokenizer(folder.path().resolve(ModelFolder.TOKENIZER), folder.text().length());
    }

    public ModelFolder folder() {
        return folder;
    }

    /** Whether the graph for {@code use} is loaded, which takes seconds for a large one. */
    public boolean isReadyFor(Use use) {
        return sessions.containsKey(key(graph(use), use.alone()));
    }

    /** Loads the graph for {@code use}, unless it is. Throws {@link ModelException}. */
    public void load(Use use) {
        session(graph(use), use.alone());
    }

    private Path graph(Use use) {
        return use.texts() ? folder.textModel() : folder.withImages().visionModel();
    }

    private Key key(Path graph, boolean alone) {
        return new Key(graph, alone || compute.threads() == 1);
    }

    /** The native bytes that {@link #encodeTexts} takes at most for these texts, the graph's own not counted. */
    public long working(List<String> texts) {
        return tokenizer.working(texts);
    }

    /** How many tokens each text has in full, without those that the tokenizer adds around it. */
    public int[] counts(List<String> texts) {
        return tokenizer.counts(texts, false);
    }

    /** The native bytes that {@link #counts} takes at most for texts of so many {@code characters} in all. */
    public static long counting(long characters) {
        return Tokenizer.counting(characters);
    }

    /** How many tokens of a passage are read, beside the prompt and what the tokenizer adds. Throws {@link ModelException} for none. */
    public int room() {
        int length = folder.text().length();
        int taken = tokenizer.counts(List.of(""), true)[0] + tokenizer.counts(List.of(folder.prompts().passage()), false)[0];
        if (taken >= length) {
            throw new ModelException(folder.name() + " reads " + length + " tokens, which its prompt takes up");
        }
        return length - taken;
    }

    /** Unit vectors [texts][dims], in the order given. Longer texts than the model reads are cut. */
    public float[][] encodeTexts(List<String> texts, boolean alone) {
        long[][] ids = tokenizer.encode(texts);
        Integer[] order = new Integer[ids.length];
        Arrays.setAll(order, i -> i);
        // Texts of like length together, so that short ones aren't padded to long ones.
        Arrays.sort(order, Comparator.comparingInt(i -> ids[i].length));
        float[][] vectors = new float[ids.length][];
        for (int start = 0; start < order.length; start += BATCH) {
            Integer[] rows = Arrays.copyOfRange(order, start, Math.min(start + BATCH, order.length));
            float[][] part = runTexts(Arrays.stream(rows).map(i -> ids[i]).toList(), alone);
            for (int i = 0; i < rows.length; i++) {
                vectors[rows[i]] = part[i];
            }
        }
        return vectors;
    }

    /** The tensor of an encoded picture, for {@link #encodePixels}. The limits and errors are {@link Images#open}'s. */
    public float[] prepare(byte[] image, long maxPixels, Budget budget) {
        ImageTransform transform = folder.transform();
        Picture picture = Images.open(image, transform.resizeTarget(), maxPixels, budget);
        budget.reserve(transform.working(picture.width(), picture.height()));
        return transform.apply(picture);
    }

    /** Unit vectors [images][dims] of prepared pictures, in one run of the graph. */
    public float[][] encodePixels(List<float[]> pixels, boolean alone) {
        OrtSession session = session(folder.visionModel(), alone);
        try {
            return inBatches(pixels, batch(session, "pixel_values", folder.visionModel()), part -> runPixels(session, part));
        } catch (OrtException e) {
            throw failed(folder.visionModel(), e);
        }
    }

    private float[][] runPixels(OrtSession session, List<float[]> pixels) throws OrtException {
        ImageTransform transform = folder.transform();
        FloatBuffer buffer = ByteBuffer.allocateDirect(pixels.size() * transform.outputLength() * Float.BYTES)
            .order(ByteOrder.nativeOrder())
            .asFloatBuffer();
        pixels.forEach(buffer::put);
        buffer.rewind();
        long[] shape = { pixels.size(), 3, transform.outputHeight(), transform.outputWidth() };
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        OnnxJavaType type = info(session, "pixel_values", folder.visionModel()).type;
        if (type != OnnxJavaType.FLOAT && type != OnnxJavaType.FLOAT16) {
            throw new ModelException(shown(folder.visionModel()) + " asks for pixels as " + type + ", which crosslens can't give");
        }
        try (
            OnnxTensor tensor = type == OnnxJavaType.FLOAT
                ? OnnxTensor.createTensor(environment, buffer, shape)
                : OnnxTensor.createTensor(environment, Fp16Conversions.convertFloatBufferToFp16Buffer(buffer), shape, type)
        ) {
            return run(session, Map.of("pixel_values", tensor), IMAGE_OUTPUTS, folder.visionModel());
        }
    }

    private interface Run<T> {
        float[][] of(List<T> inputs) throws OrtException;
    }

    private float[][] runTexts(List<long[]> ids, boolean alone) {
        OrtSession session = session(folder.textModel(), alone);
        try {
            return inBatches(ids, batch(session, "input_ids", folder.textModel()), part -> runTexts(session, part));
        } catch (OrtException e) {
            throw failed(folder.textModel(), e);
        }
    }

    private float[][] runTexts(OrtSession session, List<long[]> ids) throws OrtException {
        TextSettings settings = folder.text();
        int longest = ids.stream().mapToInt(each -> each.length).max().orElse(0);
        int length = settings.fixed() ? settings.length() : longest;
        // Padding that nothing masks, before a text, would make its vector depend on the longest text beside it.
        boolean left = settings.left() && (settings.fixed() || session.getInputNames().contains("attention_mask"));
        long[] tokens = new long[ids.size() * length], mask = new long[tokens.length];
        Arrays.fill(tokens, settings.padId());
        for (int row = 0; row < ids.size(); row++) {
            long[] sequence = ids.get(row);
            int start = row * length + (left ? length - sequence.length : 0);
            System.arraycopy(sequence, 0, tokens, start, sequence.length);
            Arrays.fill(mask, start, start + sequence.length, 1);
        }
        Map<String, OnnxTensor> inputs = new HashMap<>();
        try {
            for (String name : session.getInputNames()) {
                if (TEXT_INPUTS.contains(name) == false) {
                    throw new ModelException(shown(folder.textModel()) + " asks for an input that crosslens doesn't know: " + name);
                }
                long[] values = switch (name) {
                    case "input_ids" -> tokens;
                    case "attention_mask" -> mask;
                    default -> new long[tokens.length];
                };
                long[] shape = { ids.size(), length };
                inputs.put(name, whole(values, shape, info(session, name, folder.textModel()).type));
            }
            return run(session, inputs, TEXT_OUTPUTS, folder.textModel());
        } finally {
            inputs.values().forEach(OnnxTensor::close);
        }
    }

    private OnnxTensor whole(long[] values, long[] shape, OnnxJavaType type) throws OrtException {
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        if (type == OnnxJavaType.INT64) {
            return OnnxTensor.createTensor(environment, LongBuffer.wrap(values), shape);
        }
        if (type == OnnxJavaType.INT32) {
            int[] narrow = Arrays.stream(values).mapToInt(value -> (int) value).toArray();
            return OnnxTensor.createTensor(environment, IntBuffer.wrap(narrow), shape);
        }
        throw new ModelException(shown(folder.textModel()) + " asks for tokens as " + type + ", which crosslens can't give");
    }

    /** All inputs in one run or, for a graph of a fixed {@code batch}, that many at a time, the last batch filled up. */
    private static <T> float[][] inBatches(List<T> inputs, int batch, Run<T> run) throws OrtException {
        if (batch <= 0 || inputs.size() == batch) {
            return run.of(inputs);
        }
        float[][] vectors = new float[inputs.size()][];
        for (int start = 0; start < vectors.length; start += batch) {
            List<T> part = new ArrayList<>(inputs.subList(start, Math.min(start + batch, vectors.length)));
            int wanted = part.size();
            while (part.size() < batch) {
                part.add(part.get(wanted - 1));
            }
            System.arraycopy(run.of(part), 0, vectors, start, wanted);
        }
        return vectors;
    }

    private int batch(OrtSession session, String input, Path model) throws OrtException {
        long[] shape = info(session, input, model).getShape();
        return shape.length == 0 ? 0 : (int) shape[0];
    }

    private TensorInfo info(OrtSession session, String input, Path model) throws OrtException {
        NodeInfo node = session.getInputInfo().get(input);
        if (node == null || node.getInfo() instanceof TensorInfo == false) {
            throw new ModelException(shown(model) + " has no input that is called " + input);
        }
        return (TensorInfo) node.getInfo();
    }

    private float[][] run(OrtSession session, Map<String, OnnxTensor> inputs, List<String> outputs, Path model)
        throws OrtException {
        String output = outputs.stream()
            .filter(session.getOutputNames()::contains)
            .findFirst()
            .orElseThrow(() -> new ModelException(shown(model) + " gives none of " + outputs));
        try (OrtSession.Result result = session.run(inputs, Set.of(output))) {
            if (result.get(0).getValue() instanceof float[][] == false) {
                throw new ModelException(shown(model) + " gives " + output + " in a form that crosslens can't read");
            }
            float[][] vectors = (float[][]) result.get(0).getValue();
            for (float[] vector : vectors) {
                makeUnit(vector);
            }
            return vectors;
        }
    }

    private static void makeUnit(float[] vector) {
        double square = 0;
        for (float value : vector) {
            square += (double) value * value;
        }
        double norm = Math.sqrt(square);
        if (norm > 0 == false || Double.isInfinite(norm)) {
            throw new ModelException("the encoder gave a vector of length zero or not a number; the model folder is damaged");
        }
        for (int i = 0; i < vector.length; i++) {
            vector[i] = (float) (vector[i] / norm);
        }
    }

    private synchronized OrtSession session(Path graph, boolean alone) {
        Key key = key(graph, alone);
        OrtSession known = sessions.get(key);
        if (known == null) {
            known = load(graph, alone ? compute.threads() : 1);
            sessions.put(key, known);
        }
        return known;
    }

    private OrtSession load(Path graph, int threads) {
        // Before options, since a device's own need it.
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            options.setInterOpNumThreads(1);
            // The arena keeps the largest batch's memory for ever; off, it costs no measurable time.
            options.setCPUArenaAllocator(false);
            options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
            // Idle threads that spin would take the cores from the node's own work.
            options.addConfigEntry("session.intra_op.allow_spinning", "0");
            compute.device().add(options);
            // On Windows it would tell the system what it runs. Newer builds send that to their maker, from all systems.
            environment.setTelemetry(false);
            return environment.createSession(graph.toString(), options);
        } catch (OrtException e) {
            throw new ModelException(graph + " can't be loaded by ONNX Runtime on " + compute.device() + " (" + e.getMessage() + ")", e);
        }
    }

    /** As errors name it to whoever searches: where the folder lies is the operator's business. */
    private String shown(Path graph) {
        return folder.path().getFileName().resolve(folder.path().relativize(graph)).toString();
    }

    private ModelException failed(Path model, OrtException e) {
        return new ModelException(shown(model) + " could not be run (" + e.getMessage() + ")", e);
    }

    /** Frees the graphs and the tokenizer; nobody may be using them. */
    @Override
    public synchronized void close() {
        tokenizer.close();
        List<OrtSession> loaded = new ArrayList<>(sessions.values());
        sessions.clear();
        for (OrtSession session : loaded) {
            try {
                session.close();
            } catch (OrtException e) {
                throw new ModelException("a graph could not be unloaded (" + e.getMessage() + ")", e);
            }
        }
    }
}
