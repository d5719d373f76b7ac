package org.crosslens.server.encode;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * Texts to token ids by a folder's tokenizer.json, with the very library that the Python side uses (Hugging Face's
 * tokenizers, through DJL's bridge). May be used from several threads.
 *
 * <p>DJL's own loader writes to the user's home and may download; so the library is unpacked and loaded here.
 */
final class Tokenizer implements Closeable {

    /** The native library's memory for each character at most: tokens, offsets, words, masks. */
    private static final int BYTES_A_CHARACTER = 256;
    /** The first prefix tried has this many characters for each token; no common vocabulary has longer entries. */
    private static final int CHARACTERS_A_TOKEN = 64;
    /** A prefix is long enough when this many more characters change no token. */
    private static final int MARGIN = 1_024;
    /** The longest prefix ever read, even where it holds fewer tokens than the model reads. */
    private static final int MOST_CHARACTERS = 1 << 18;

    private final Path file;
    private final long handle;
    private final int length;
    /** The same without a limit, which a handle has for all of its texts; 0 until it is needed. */
    private long uncut;

    /** Reads {@code file}; texts are cut to {@code length} tokens. Throws {@link ModelException}. */
    Tokenizer(Path file, int length) {
        Library.load();
        this.file = file;
        this.length = length;
        handle = open();
        TokenizersLibrary.LIB.setTruncation(handle, length, "LONGEST_FIRST", 0);
    }

    private long open() {
        try {
            long opened = TokenizersLibrary.LIB.createTokenizerFromString(ControlWords.asText(file));
            // Padding is done by batch; the file's own settings would pad every text.
            TokenizersLibrary.LIB.disablePadding(opened);
            return opened;
        } catch (IOException | RuntimeException e) {
            throw new ModelException(file + " can't be read as a tokenizer (" + e.getMessage() + ")", e);
        }
    }

    /**
     * The token ids of each text, with the special tokens that the tokenizer adds.
     *
     * <p>The library truncates only after tokenizing the whole text, which takes seconds and gigabytes for megabytes of it.
     * So a long text is first cut to a prefix that fills the model's limit and whose tokens stay the same when more of the
     * text is added.
     */
    long[][] encode(List<String> texts) {
        int enough = length * CHARACTERS_A_TOKEN;
        long[][] ids = batch(texts.stream().map(text -> text.length() <= enough ? text : "").toList());
        for (int i = 0; i < ids.length; i++) {
            if (texts.get(i).length() > enough) {
                ids[i] = beginning(texts.get(i), enough);
            }
        }
        return ids;
    }

    private long[] beginning(String text, int enough) {
        String squeezed = squeezed(text, enough);
        for (int characters = enough; characters < squeezed.length(); characters *= 2) {
            long[][] both = batch(List.of(cut(squeezed, characters - MARGIN), cut(squeezed, characters)));
            if (both[1].length == length && Arrays.equals(both[0], both[1])) {
                return both[1];
            }
        }
        return batch(List.of(squeezed))[0];
    }

    /**
     * Return at most {@link #MOST_CHARACTERS} of {@code text}, with runs of spaces and words shortened to {@code most}: a run
     * of that length already is one token, none, or as many as the model reads.
     */
    private static String squeezed(String text, int most) {
        StringBuilder squeezed = new StringBuilder();
        int run = 0;
        boolean spaces = false;
        for (int i = 0; i < text.length() && squeezed.length() < MOST_CHARACTERS; i++) {
            boolean space = Character.isWhitespace(text.charAt(i));
            run = space == spaces ? run + 1 : 1;
            spaces = space;
            if (run <= most) {
                squeezed.append(text.charAt(i));
            }
        }
        return squeezed.toString();
    }

    private static String cut(String text, int characters) {
        return text.substring(0, Character.isHighSurrogate(text.charAt(characters - 1)) ? characters - 1 : characters);
    }

    /** Return an upper bound of the native memory that {@link #encode} takes, in bytes. */
    long working(List<String> texts) {
        long enough = (long) length * CHARACTERS_A_TOKEN, all = 0, longest = 0;
        for (String text : texts) {
            if (text.length() <= enough) {
                all += text.length();
            } else {
                longest = Math.max(longest, Math.min(text.length(), MOST_CHARACTERS));
            }
        }
        return BYTES_A_CHARACTER * Math.max(all, 2 * Math.min(longest, 2 * enough));
    }

    /** How many tokens each text has in full, with the {@code special} ones that the tokenizer adds or without. */
    int[] counts(List<String> texts, boolean special) {
        return Arrays.stream(batch(uncut(), texts, special)).mapToInt(ids -> ids.length).toArray();
    }

    private synchronized long uncut() {
        if (uncut == 0) {
            uncut = open();
            TokenizersLibrary.LIB.disableTruncation(uncut);
        }
        return uncut;
    }

    /** Return an upper bound of the native memory that counting the tokens of so many {@code characters} takes, in bytes. */
    static long counting(long characters) {
        return BYTES_A_CHARACTER * characters;
    }

    /** The same, however long the texts are. */
    long[][] batch(List<String> texts) {
        return batch(handle, texts, true);
    }

    private static long[][] batch(long handle, List<String> texts, boolean special) {
        String[] wellFormed = texts.stream().map(Tokenizer::wellFormed).toArray(String[]::new);
        long[] encodings = TokenizersLibrary.LIB.batchEncode(handle, wellFormed, special);
        long[][] ids = new long[encodings.length][];
        try {
            for (int i = 0; i < encodings.length; i++) {
                ids[i] = TokenizersLibrary.LIB.getTokenIds(encodings[i]);
            }
        } finally {
            for (long encoding : encodings) {
                TokenizersLibrary.LIB.deleteEncoding(encoding);
            }
        }
        return ids;
    }

    /** Half a surrogate pair is not a character, and mustn't reach native code: the replacement character instead. */
    private static String wellFormed(String text) {
        StringBuilder mended = null;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            boolean pair = Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1));
            if (pair) {
                i++;
            } else if (Character.isSurrogate(c)) {
                mended = mended == null ? new StringBuilder(text) : mended;
                mended.setCharAt(i, '\uFFFD');
            }
        }
        return mended == null ? text : mended.toString();
    }

    @Override
    public synchronized void close() {
        TokenizersLibrary.LIB.deleteTokenizer(handle);
        if (uncut != 0) {
            TokenizersLibrary.LIB.deleteTokenizer(uncut);
            uncut = 0;
        }
    }

    /** The native library, unpacked from the jar into a temporary folder and loaded once. */
    private static final class Library {

        private static final boolean WINDOWS = System.getProperty("os.name").startsWith("Windows");
        private static final List<String> FILES = WINDOWS
            ? List.of("libwinpthread-1.dll", "libgcc_s_seh-1.dll", "libstdc++-6.dll", "tokenizers.dll")
            : List.of(System.mapLibraryName("tokenizers"));

        static {
            try {
                Path folder = Files.createTempDirectory("crosslens-tokenizers");
                for (String name : FILES) {
                    Path file = folder.resolve(name);
                    try (InputStream in = TokenizersLibrary.class.getResourceAsStream("/native/lib/" + platform() + "/cpu/" + name)) {
                        if (in == null) {
                            throw new ModelException("this crosslens plugin was not built for " + platform());
                        }
                        Files.copy(in, file, StandardCopyOption.REPLACE_EXISTING);
                    }
                    System.load(file.toAbsolutePath().toString());
                    if (WINDOWS == false) {
                        // Once loaded, the file isn't needed any more.
                        Files.delete(file);
                    }
                }
                if (WINDOWS == false) {
                    Files.delete(folder);
                }
            } catch (IOException e) {
                throw new ModelException("the tokenizers library can't be unpacked (" + e.getMessage() + ")", e);
            }
        }

        private static String platform() {
            String os = WINDOWS ? "win" : System.getProperty("os.name").startsWith("Mac") ? "osx" : "linux";
            String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
            return os + "-" + (arch.equals("amd64") ? "x86_64" : arch);
        }

        /** Runs the initialiser, the first time. */
        static void load() {}
    }
}
