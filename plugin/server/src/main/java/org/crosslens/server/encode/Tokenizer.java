package org.crosslens.server.encode;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Locale;

/**
 * Texts to token ids by a folder's tokenizer.json, with the very library that the Python side uses (Hugging Face's
 * tokenizers, through DJL's bridge). May be used from several threads.
 *
 * <p>DJL's own loader writes to the user's home and may download; so the library is unpacked and loaded here.
 */
final class Tokenizer implements Closeable {

    private final long handle;

    /** Reads {@code file}; texts are cut to {@code length} tokens. Throws {@link ModelException}. */
    Tokenizer(Path file, int length) {
        Library.load();
        try {
            handle = TokenizersLibrary.LIB.createTokenizerFromString(ControlWords.asText(file));
        } catch (IOException | RuntimeException e) {
            throw new ModelException(file + " can't be read as a tokenizer (" + e.getMessage() + ")", e);
        }
        // Padding is done by batch; the file's own settings would pad every text.
        TokenizersLibrary.LIB.disablePadding(handle);
        TokenizersLibrary.LIB.setTruncation(handle, length, "LONGEST_FIRST", 0);
    }

    /** The token ids of each text, with the special tokens that the tokenizer adds. */
    long[][] encode(List<String> texts) {
        String[] wellFormed = texts.stream().map(Tokenizer::wellFormed).toArray(String[]::new);
        long[] encodings = TokenizersLibrary.LIB.batchEncode(handle, wellFormed, true);
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

    /** Half a surrogate pair is no character, and mustn't reach native code: the replacement character instead. */
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
    public void close() {
        TokenizersLibrary.LIB.deleteTokenizer(handle);
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
