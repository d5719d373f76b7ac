package org.crosslens.server.encode;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A folder with both encoders or, of a text model, the one for texts, as {@code crosslens export} and the tools around
 * transformers.js make them. A text model has neither {@code visionModel} nor {@code transform}.
 *
 * <p>{@code fingerprint} changes whenever a file that shapes the vectors does, and equals the one that the Python side
 * records in an index. {@code dims} is 0 where no manifest says it. {@code searches} are the fingerprints of other vectors
 * that queries of this folder may be compared with, as its export has proved.
 */
public record ModelFolder(
    Path path,
    String name,
    String fingerprint,
    Path textModel,
    Path visionModel,
    TextSettings text,
    ImageTransform transform,
    Prompts prompts,
    int dims,
    Set<String> searches
) {

    private static final String MANIFEST = "crosslens.json";
    static final String TOKENIZER = "tokenizer.json";
    private static final String PREPROCESSOR = "preprocessor_config.json";
    private static final String PROCESSOR = "processor_config.json";
    private static final String CONFIG = "config.json";
    // Pooling of these families reads the last position, so their texts are always padded to the full length.
    private static final Set<String> FIXED_LENGTH = Set.of(
        "siglip",
        "siglip2",
        "siglip_text_model",
        "siglip2_text_model"
    );

    /** Whether {@code path} looks like a model folder at all. */
    public static boolean isModel(Path path) {
        return Files.isRegularFile(path.resolve(CONFIG)) && Files.isRegularFile(path.resolve(TOKENIZER));
    }

    /**
     * Reads a folder without checking its files' hashes; {@link #verify} does.
     *
     * <p>Throws {@link ModelException} for a missing file or one that can't be read.
     */
    public static ModelFolder open(Path path) {
        Map<String, Object> config = Json.read(path.resolve(CONFIG));
        Path text = graph(path, "text_model"), vision = isTextModel(path) ? null : graph(path, "vision_model");
        Path tokenizer = path.resolve(TOKENIZER);
        if (Files.exists(tokenizer) == false) {
            throw new ModelException(tokenizer + " is missing: the folder's tokenizer must be in that form");
        }
        // transformers 5 writes one file for all of a model's processors.
        boolean one = Files.exists(path.resolve(PREPROCESSOR)) == false && Files.exists(path.resolve(PROCESSOR));
        Path preprocessing = path.resolve(one ? PROCESSOR : PREPROCESSOR);
        Map<String, Object> preprocessor = vision == null ? null : Json.read(preprocessing);
        preprocessor = one ? Json.object(preprocessor, "image_processor") : preprocessor;
        Map<String, Object> manifest = manifest(path);
        TextSettings settings = textSettings(path, config, manifest, vision == null);
        // A file that a manifest doesn't list has no part in the vectors that its fingerprint stands for.
        boolean counts = manifest.isEmpty() || recorded(manifest).containsKey(Prompts.FILE);
        Prompts prompts = counts ? Prompts.read(path) : Prompts.NONE;
        Map<String, String> hashes = new TreeMap<>();
        // A manifest names all files there are, so those that an index recorded before stay valid; only weights beside a
        // graph, which earlier manifests left out, are added.
        List<Path> files = new ArrayList<>();
        if (manifest.isEmpty()) {
            files.addAll(vision == null ? List.of(text, tokenizer) : List.of(text, vision, tokenizer, preprocessing));
            files.addAll(ofSounds(path));
            if (prompts.equals(Prompts.NONE) == false) {
                hashes.put("prompts", Sha256.of(prompts.line()));
            }
            hashes.put("text", Sha256.of(settings.line().getBytes(StandardCharsets.UTF_8)));
        } else {
            hashes.putAll(recorded(manifest));
        }
        OnnxFile textFile = OnnxFile.read(text);
        textFile.external().forEach(name -> files.add(text.resolveSibling(name)));
        if (vision != null) {
            OnnxFile.read(vision).external().forEach(name -> files.add(vision.resolveSibling(name)));
        }
        for (Path file : files) {
            checkInside(path, file);
            String name = path.relativize(file).toString().replace('\\', '/');
            if (Files.isRegularFile(file) == false) {
                throw new ModelException(file + " is missing; it holds weights: copy or export the folder again");
            }
            if (hashes.containsKey(name) == false) {
                hashes.put(name, sha256(file));
            }
        }
        long[] ids = textFile.inputs().getOrDefault("input_ids", new long[2]);
        Object name = manifest.get("name") != null ? manifest.get("name") : config.get("_name_or_path");
        String called = name == null || name.toString().isEmpty() ? path.getFileName().toString() : name.toString();
        Number dims = Json.number(manifest, "dims");
        return new ModelFolder(
            path,
            called,
            fingerprint(hashes),
            text,
            vision,
            settings.fitted(ids.length > 1 ? ids[1] : 0),
            vision == null ? null : ImageTransform.parse(preprocessor),
            prompts,
            dims == null ? 0 : dims.intValue(),
            searches(manifest)
        );
    }

    /**
     * Whether a folder has neither an image encoder nor what prepares pictures for one. Where it has an encoder for sounds,
     * which isn't run here, what prepares something is for that one.
     */
    private static boolean isTextModel(Path path) {
        boolean pictures = has(path, "vision_model") || (has(path, "audio_model") == false && prepares(path));
        return pictures == false;
    }

    private static boolean has(Path path, String name) {
        return Files.exists(path.resolve("onnx/" + name + ".onnx")) || Files.exists(path.resolve(name + ".onnx"));
    }

    private static boolean prepares(Path path) {
        return Files.exists(path.resolve(PREPROCESSOR)) || Files.exists(path.resolve(PROCESSOR));
    }

    /** The encoder for sounds and the file that says what it reads, which count in a fingerprint; empty without one. */
    private static List<Path> ofSounds(Path path) {
        if (has(path, "audio_model") == false) {
            return List.of();
        }
        Path audio = graph(path, "audio_model");
        List<Path> files = new ArrayList<>(List.of(audio));
        OnnxFile.read(audio).external().forEach(name -> files.add(audio.resolveSibling(name)));
        boolean one = Files.exists(path.resolve(PROCESSOR))
            && Json.object(Json.read(path.resolve(PROCESSOR)), "feature_extractor").containsKey("feature_extractor_type");
        files.add(path.resolve(one ? PROCESSOR : PREPROCESSOR));
        return files;
    }

    /** Throws {@link IllegalArgumentException} for a text model. */
    public ModelFolder withImages() {
        if (visionModel == null) {
            throw new IllegalArgumentException(
                "the model [" + name + "] (" + fingerprint + ") is a text model, which encodes no images"
            );
        }
        return this;
    }

    private static Set<String> searches(Map<String, Object> manifest) {
        Map<String, Object> relations = Json.object(manifest, "relations");
        Set<String> allowed = new TreeSet<>();
        for (String fingerprint : relations.keySet()) {
            if (Boolean.TRUE.equals(Json.object(relations, fingerprint).get("search"))) {
                allowed.add(fingerprint);
            }
        }
        return Set.copyOf(allowed);
    }

    /** Compares every file with the sha256 in the manifest, if there is one. Throws {@link ModelException}. */
    public void verify() {
        recorded(manifest(path)).forEach((name, expected) -> {
            Path file = path.resolve(name);
            checkInside(path, file);
            if (Files.exists(file) == false) {
                throw new ModelException(file + " is missing: the model folder is incomplete; copy or export it again");
            }
            if (sha256(file).equals(expected) == false) {
                throw new ModelException(
                    file + " has been changed since its export (its sha256 differs from " + MANIFEST + "); "
                        + "copy or export the folder again"
                );
            }
        });
    }

    /** A graph and a manifest name files; what one from elsewhere names may not lead out of its folder. */
    private static void checkInside(Path path, Path file) {
        if (file.normalize().startsWith(path.normalize()) == false) {
            throw new ModelException(path + " names a file outside of the model's folder: " + path.relativize(file));
        }
    }

    private static Map<String, Object> manifest(Path path) {
        return Files.exists(path.resolve(MANIFEST)) ? Json.read(path.resolve(MANIFEST)) : Map.of();
    }

    private static Map<String, String> recorded(Map<String, Object> manifest) {
        Map<String, String> hashes = new TreeMap<>();
        Json.object(manifest, "files").forEach((file, hash) -> hashes.put(file, String.valueOf(hash)));
        return hashes;
    }

    /** 16 hex digits over the files' names and sha256, in the names' order. */
    private static String fingerprint(Map<String, String> hashes) {
        StringBuilder lines = new StringBuilder();
        hashes.forEach((name, hash) -> lines.append(name).append(' ').append(hash).append('\n'));
        return Sha256.of(lines.toString().getBytes(StandardCharsets.UTF_8)).substring(0, 16);
    }

    private static String sha256(Path file) {
        try (InputStream in = Files.newInputStream(file)) {
            return Sha256.of(in);
        } catch (IOException e) {
            throw new ModelException(file + " can't be read (" + e.getMessage() + ")", e);
        }
    }

    private static Path graph(Path path, String kind) {
        for (Path place : new Path[] { path.resolve("onnx").resolve(kind + ".onnx"), path.resolve(kind + ".onnx") }) {
            if (Files.exists(place)) {
                return place;
            }
        }
        throw new ModelException(path + " has no onnx/" + kind + ".onnx; make the folder with crosslens export");
    }

    private static TextSettings textSettings(
        Path path,
        Map<String, Object> config,
        Map<String, Object> manifest,
        boolean textModel
    ) {
        Map<String, Object> listed = Json.object(manifest, "text");
        if (listed.isEmpty() == false) {
            return new TextSettings(
                Json.number(listed, "length").intValue(),
                Json.number(listed, "pad_id").longValue(),
                Json.flag(listed, "fixed", false),
                "left".equals(listed.get("side"))
            );
        }
        Path settingsFile = path.resolve("tokenizer_config.json");
        Map<String, Object> settings = Files.exists(settingsFile) ? Json.read(settingsFile) : Map.of();
        Path sentencesFile = path.resolve("sentence_bert_config.json");
        Map<String, Object> sentences = textModel && Files.exists(sentencesFile) ? Json.read(sentencesFile) : Map.of();
        if (Json.flag(sentences, "do_lower_case", false)) {
            throw new ModelException(
                sentencesFile + " wants texts in lower case before they are tokenized, which only an export does; make the "
                    + "folder with crosslens export"
            );
        }
        Number most = Json.number(sentences, "max_seq_length");
        Map<String, Object> text = Json.object(config, "text_config");
        String family = String.valueOf(config.get("model_type"));
        int length = Integer.MAX_VALUE;
        Map<String, Object> openClip = Json.object(config, "text_cfg");
        if ("canonicalize".equals(Json.object(openClip, "tokenizer_kwargs").get("clean"))) {
            throw new ModelException(path + " cleans its texts as open_clip does, which only the Python side can");
        }
        for (Number limit : new Number[] {
            Json.number(text, "max_position_embeddings"),
            most != null && most.doubleValue() != 0 ? most : Json.number(settings, "model_max_length"),
            Json.number(openClip, "context_length") }) {
            // transformers writes 1e30 where a tokenizer has no limit.
            if (limit != null && limit.doubleValue() > 0 && limit.doubleValue() < 100_000) {
                length = Math.min(length, limit.intValue());
            }
        }
        if (length == Integer.MAX_VALUE) {
            length = FIXED_LENGTH.contains(family) ? 64 : 77;
        }
        Long padId = padId(path, settings);
        Number fallback = Json.number(text, "pad_token_id") != null
            ? Json.number(text, "pad_token_id")
            : Json.number(config, "pad_token_id");
        return new TextSettings(
            length,
            padId != null ? padId : fallback != null ? fallback.longValue() : 0,
            FIXED_LENGTH.contains(family),
            "left".equals(settings.get("padding_side"))
        );
    }

    private static Long padId(Path path, Map<String, Object> settings) {
        Object token = settings.get("pad_token");
        Object name = token instanceof Map<?, ?> map ? map.get("content") : token;
        if (name instanceof String == false) {
            return null;
        }
        Map<String, Object> tokenizer = Json.read(path.resolve(TOKENIZER));
        for (Object added : Json.list(tokenizer, "added_tokens")) {
            if (added instanceof Map<?, ?> map && name.equals(map.get("content")) && map.get("id") instanceof Number id) {
                return id.longValue();
            }
        }
        List<?> pieces = Json.list(Json.object(tokenizer, "model"), "vocab");
        for (int i = 0; i < pieces.size(); i++) {
            if (pieces.get(i) instanceof List<?> pair && name.equals(pair.get(0))) {
                return (long) i;
            }
        }
        Number id = Json.number(Json.object(Json.object(tokenizer, "model"), "vocab"), (String) name);
        return id == null ? null : id.longValue();
    }
}
