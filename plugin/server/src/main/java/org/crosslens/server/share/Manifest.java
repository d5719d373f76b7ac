package org.crosslens.server.share;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;
import org.crosslens.server.encode.Sha256;
import org.elasticsearch.xcontent.ObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;

/**
 * What a client says of a model folder that it sends: the folder's fingerprint, its files, and the parts in which their
 * bytes follow, one file after the other, cut after every {@link #PART_BYTES}. All that it says is a stranger's claim:
 * {@link #read} refuses names that don't stay in the folder or that some file system confuses, and {@link Unpacking} takes
 * only bytes with the hashes that stand here. There is no archive, so there are no links, modes or compressed bytes.
 */
record Manifest(String name, String fingerprint, List<Content> files, List<String> parts) {

    static final int PART_BYTES = 1 << 20;
    static final int MOST_FILES = 200;
    /** The longest file of settings, which are read as a whole; the tokenizer with the most words has half of it. */
    static final long LONGEST_SETTINGS = 64L << 20;
    private static final int LONGEST_NAME = 100;
    private static final int DEEPEST = 4;
    private static final Pattern HASH = Pattern.compile("[0-9a-f]{64}");
    private static final Pattern FINGERPRINT = Pattern.compile("[0-9a-f]{16}");
    // No name begins with a dot, which keeps the node's own marks apart, or ends with one, which Windows drops.
    private static final Pattern SIMPLE = Pattern.compile("[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?");
    private static final Pattern DEVICE = Pattern.compile("(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\\..*)?");

    /** A file: its name, relative and with slashes, its length in bytes and its sha256. */
    record Content(String name, long size, String sha256) {}

    private static final class Draft {
        String fingerprint;
        List<Content> files = List.of();
        List<String> parts = List.of();
    }

    private static final class DraftContent {
        String name;
        long size = -1;
        String sha256;

        Content content() {
            return new Content(name, size, sha256);
        }
    }

    private static final ObjectParser<DraftContent, Void> FILE = new ObjectParser<>("crosslens_model_file", DraftContent::new);
    private static final ObjectParser<Draft, Void> PARSER = new ObjectParser<>("crosslens_model", Draft::new);

    static {
        FILE.declareString((file, name) -> file.name = name, new ParseField("name"));
        FILE.declareLong((file, size) -> file.size = size, new ParseField("size"));
        FILE.declareString((file, sha256) -> file.sha256 = sha256, new ParseField("sha256"));
        PARSER.declareString((draft, fingerprint) -> draft.fingerprint = fingerprint, new ParseField("fingerprint"));
        PARSER.declareObjectArray(
            (draft, files) -> draft.files = files,
            (parser, ignored) -> FILE.parse(parser, null).content(),
            new ParseField("files")
        );
        PARSER.declareStringArray((draft, parts) -> draft.parts = parts, new ParseField("parts"));
    }

    /**
     * Reads what a client says of the model that it calls {@code name}, of {@code most} bytes at most.
     *
     * <p>Throws {@link IllegalArgumentException} that says which claim can't be, or what the parser says of other JSON.
     */
    static Manifest read(String name, XContentParser parser, long most) {
        Draft draft = PARSER.apply(parser, null);
        Manifest manifest = new Manifest(name, draft.fingerprint, List.copyOf(draft.files), List.copyOf(draft.parts));
        manifest.check(most);
        return manifest;
    }

    private void check(long most) {
        checkName(name);
        matches(FINGERPRINT, fingerprint, "[fingerprint] must be the model's fingerprint, 16 hexadecimal digits");
        if (files.isEmpty() || files.size() > MOST_FILES) {
            throw new IllegalArgumentException("[files] must name from 1 to " + MOST_FILES + " files, not " + files.size());
        }
        // Two names may be one file on some node: without regard to case, or where one is the other's folder.
        Set<String> taken = new HashSet<>(), folders = new HashSet<>();
        long total = 0;
        for (Content file : files) {
            checkFile(file);
            String lower = file.name.toLowerCase(Locale.ROOT);
            for (int slash = lower.indexOf('/'); slash >= 0; slash = lower.indexOf('/', slash + 1)) {
                folders.add(lower.substring(0, slash));
            }
            if (taken.add(lower) == false) {
                throw new IllegalArgumentException("[files] names [" + file.name + "] twice");
            }
            // A sum of claims may overflow; a claim alone can't, once it is compared.
            if (file.size > most - total) {
                throw new IllegalArgumentException(
                    "the model is larger than the " + most + " bytes that crosslens.models.max_size allows"
                );
            }
            total += file.size;
        }
        for (String folder : folders) {
            if (taken.contains(folder)) {
                throw new IllegalArgumentException("[files] names [" + folder + "] as a file and as a folder");
            }
        }
        long count = (total + PART_BYTES - 1) / PART_BYTES;
        if (parts.size() != count) {
            throw new IllegalArgumentException(
                "[parts] must have the sha256 of each part of " + PART_BYTES + " bytes: " + count + " of them for " + total
                    + " bytes, not " + parts.size()
            );
        }
        parts.forEach(each -> matches(HASH, each, "[parts] must be sha256 in 64 lower-case hexadecimal digits"));
    }

    /** Refuses a {@code name} that can't be a folder's on every file system. */
    static void checkName(String name) {
        if (isSimple(name) == false) {
            throw new IllegalArgumentException(
                "[" + shown(name) + "] can't be the name of a model: take up to " + LONGEST_NAME
                    + " letters, digits, dots, dashes and underscores"
            );
        }
    }

    private static void checkFile(Content file) {
        String[] steps = file.name == null ? new String[0] : file.name.split("/", -1);
        boolean inside = steps.length > 0 && steps.length <= DEEPEST;
        for (String step : steps) {
            inside = inside && isSimple(step);
        }
        if (inside == false) {
            throw new IllegalArgumentException(
                "[" + shown(file.name) + "] can't be the name of a model's file: take names of up to " + LONGEST_NAME
                    + " letters, digits, dots, dashes and underscores, " + DEEPEST + " of them at most with slashes between"
            );
        }
        if (file.size < 0) {
            throw new IllegalArgumentException("the file [" + file.name + "] must have a [size] in bytes");
        }
        if (isSettings(file) && file.size > LONGEST_SETTINGS) {
            throw new IllegalArgumentException("the file [" + file.name + "] is larger than the " + LONGEST_SETTINGS + " bytes that settings may have");
        }
        matches(HASH, file.sha256, "the file [" + file.name + "] must have a [sha256] of 64 lower-case hexadecimal digits");
    }

    private static boolean isSimple(String name) {
        return name != null && name.length() <= LONGEST_NAME && SIMPLE.matcher(name).matches() && DEVICE.matcher(name).matches() == false;
    }

    private static void matches(Pattern pattern, String value, String otherwise) {
        if (value == null || pattern.matcher(value).matches() == false) {
            throw new IllegalArgumentException(otherwise);
        }
    }

    /** A stranger's name, short enough for a message. */
    private static String shown(String name) {
        return name == null || name.length() <= LONGEST_NAME ? name : name.substring(0, LONGEST_NAME) + "...";
    }

    /** The length of all files together. */
    long total() {
        return files.stream().mapToLong(Content::size).sum();
    }

    /** The length of all settings together. */
    long settings() {
        return files.stream().filter(Manifest::isSettings).mapToLong(Content::size).sum();
    }

    private static boolean isSettings(Content file) {
        return file.name.toLowerCase(Locale.ROOT).endsWith(".json");
    }

    /** The length of a part. */
    int length(int part) {
        return (int) Math.min(PART_BYTES, total() - (long) part * PART_BYTES);
    }

    /** Names exactly this content under this name, whoever sends it: 32 hexadecimal digits. */
    String upload() {
        MessageDigest digest = Sha256.digest();
        StringBuilder all = new StringBuilder(name).append('\n').append(fingerprint).append('\n');
        files.forEach(file -> all.append(file.name).append(' ').append(file.size).append(' ').append(file.sha256).append('\n'));
        parts.forEach(part -> all.append(part).append('\n'));
        digest.update(all.toString().getBytes(StandardCharsets.UTF_8));
        return Sha256.hex(digest).substring(0, 32);
    }

    /** Writes what {@link #read} reads. */
    XContentBuilder write(XContentBuilder builder) throws IOException {
        builder.startObject().field("fingerprint", fingerprint).startArray("files");
        for (Content file : files) {
            builder.startObject().field("name", file.name).field("size", file.size).field("sha256", file.sha256).endObject();
        }
        return builder.endArray().field("parts", new ArrayList<>(parts)).endObject();
    }
}
