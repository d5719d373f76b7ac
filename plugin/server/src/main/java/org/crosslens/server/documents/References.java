package org.crosslens.server.documents;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.Locale;
import java.util.regex.Pattern;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Images;

/**
 * Getting the bytes of an image that a document refers to: a data URI, bare base64, or a path below the one folder that
 * the node's settings allow. Nothing is fetched over the network.
 */
public final class References {

    private static final int MAX_BYTES = 100 << 20;
    private static final Pattern SCHEME = Pattern.compile("([a-zA-Z][a-zA-Z0-9+.-]*)://.*", Pattern.DOTALL);
    // Of a URL the user, the password and the query may hold secrets.
    private static final Pattern HTTP = Pattern.compile("(?i)(https?)://(?:[^/?#]*@)?([^?#]*)(\\?[^#]+)?.*", Pattern.DOTALL);
    // The shortest base64 worth trying: what is shorter holds no image, and may be a file's name.
    private static final int SHORTEST = 32;

    private final Path folder;

    /** {@code folder} is the only one that files are read from; null for none. */
    public References(Path folder) {
        this.folder = folder;
    }

    /** The image that {@code reference} means. Throws {@link ImageException} where there is none, or it isn't allowed. */
    public byte[] read(String reference) {
        if (isDataUri(reference)) {
            return dataUri(reference);
        }
        byte[] bare = base64OfImage(reference, false);
        if (bare != null) {
            return bare;
        }
        Path file = file(reference);
        try (InputStream in = Files.newInputStream(file)) {
            byte[] data = new byte[(int) Math.min(Files.size(file), MAX_BYTES)];
            if (in.readNBytes(data, 0, data.length) < data.length || in.read() >= 0) {
                throw new ImageException(shown(reference) + ": changed while it was read");
            }
            return data;
        } catch (IOException e) {
            throw unreadable(reference, e);
        }
    }

    /**
     * Return an upper bound of the memory that {@link #read} takes, from the size alone. Throws {@link ImageException} for
     * references that can't be read and files that aren't images.
     */
    public long sizeOf(String reference) {
        if (isDataUri(reference) || base64OfImage(reference, true) != null) {
            return size(reference);
        }
        Path file = file(reference);
        try (InputStream in = Files.newInputStream(file)) {
            Images.requireImage(in.readNBytes(Images.BEGINNING));
            return Files.size(file);
        } catch (IOException e) {
            throw unreadable(reference, e);
        }
    }

    /** Return an upper bound of the memory that {@link #encoded} takes: the characters as bytes, without spaces, and decoded. */
    public static long size(String base64) {
        return 3L * base64.length();
    }

    /** {@link Source#contentHash} of the image that {@code reference} means, of which a file is never held as a whole. */
    public String contentHash(String reference) {
        if (isInline(reference)) {
            return Source.contentHash(read(reference));
        }
        try (InputStream in = Files.newInputStream(file(reference))) {
            return Source.contentHash(in);
        } catch (IOException e) {
            throw unreadable(reference, e);
        }
    }

    /** Whether the image itself stands in the document, so that repeating it would only cost space. */
    public static boolean isInline(String reference) {
        return isDataUri(reference) || base64OfImage(reference, true) != null;
    }

    /** The bytes of a data URI or of bare base64. Throws {@link ImageException} for anything else. */
    public static byte[] encoded(String value) {
        if (isDataUri(value)) {
            return dataUri(value);
        }
        try {
            return Base64.getMimeDecoder().decode(checked(value));
        } catch (IllegalArgumentException e) {
            throw new ImageException("the image is neither base64 nor a data URI (" + e.getMessage() + ")", e);
        }
    }

    private static boolean isDataUri(String reference) {
        return reference.regionMatches(true, 0, "data:", 0, 5);
    }

    /** RFC 2397: {@code data:[type][;base64],data}. */
    private static byte[] dataUri(String uri) {
        int comma = uri.indexOf(',');
        if (comma < 0) {
            throw new ImageException(shown(uri) + ": a data URI without a comma");
        }
        byte[] decoded = unquoted(Python.utf8(checked(uri.substring(comma + 1))));
        if (uri.substring(0, comma).toLowerCase(Locale.ROOT).endsWith(";base64") == false) {
            return decoded;
        }
        try {
            return Base64.getDecoder().decode(withoutSpace(decoded));
        } catch (IllegalArgumentException e) {
            throw new ImageException(shown(uri) + ": not valid base64 (" + e.getMessage() + ")", e);
        }
    }

    /** As Python's {@code unquote_to_bytes}: a per cent sign without two hex digits stays as it is. */
    private static byte[] unquoted(byte[] quoted) {
        byte[] plain = new byte[quoted.length];
        int length = 0;
        for (int i = 0; i < quoted.length; i++) {
            int high = quoted[i] == '%' && i + 2 < quoted.length ? Character.digit(quoted[i + 1], 16) : -1;
            int low = high < 0 ? -1 : Character.digit(quoted[i + 2], 16);
            plain[length++] = low < 0 ? quoted[i] : (byte) (high << 4 | low);
            i += low < 0 ? 0 : 2;
        }
        return length == quoted.length ? plain : Arrays.copyOf(plain, length);
    }

    private static byte[] withoutSpace(byte[] text) {
        byte[] kept = new byte[text.length];
        int length = 0;
        for (byte each : text) {
            if (each < 0 || Python.isSpace((char) each) == false) {
                kept[length++] = each;
            }
        }
        return length == text.length ? text : Arrays.copyOf(kept, length);
    }

    private static String checked(String body) {
        if (body.length() > MAX_BYTES / 3L * 4) {
            throw new ImageException("the image has more than the " + (MAX_BYTES >> 20) + " MB allowed");
        }
        return body;
    }

    /** The decoded bytes, or its {@code beginning}, if {@code text} is base64 of a file that begins as an image does, else null. */
    private static byte[] base64OfImage(String text, boolean beginning) {
        if (text.length() < SHORTEST || text.length() > MAX_BYTES / 3L * 4) {
            return null;
        }
        try {
            byte[] first = Base64.getDecoder().decode(text.substring(0, SHORTEST));
            if (Images.isImage(first) == false) {
                return null;
            }
            return beginning ? first : Base64.getMimeDecoder().decode(text);
        } catch (IllegalArgumentException e) {
            return null;
        }
    }

    /** The file below the one folder that {@code reference} means. */
    private Path file(String reference) {
        var scheme = SCHEME.matcher(reference);
        if (scheme.matches() && scheme.group(1).equalsIgnoreCase("file") == false) {
            throw new ImageException(
                shown(reference) + ": the plugin opens no connections; give base64, a data URI, or a path below "
                    + "crosslens.image_folder, or let the crosslens command fetch it"
            );
        }
        if (reference.startsWith("//")) {
            throw new ImageException(shown(reference) + ": a URL without its scheme (and the plugin opens no connections)");
        }
        if (folder == null) {
            throw new ImageException(
                shown(reference) + ": not an image in base64, and this node reads no files (crosslens.image_folder is not set)"
            );
        }
        try {
            Path root = folder.toRealPath();
            String path = scheme.matches() ? URI.create(reference).getPath() : reference;
            Path named = root.resolve(path).normalize();
            // Checked before the file system is asked, which must not even reveal what exists elsewhere.
            if (named.startsWith(root) == false && named.startsWith(folder.normalize()) == false) {
                throw outside(reference);
            }
            if (Files.isRegularFile(named) == false) {
                throw new ImageException(shown(reference) + ": no such file in the image folder");
            }
            Path real = resolved(named);
            if (real == null || real.startsWith(root) == false) {
                throw outside(reference);
            }
            long size = Files.size(real);
            if (size > MAX_BYTES) {
                throw new ImageException(shown(reference) + ": " + (size >> 20) + " MB are more than the " + (MAX_BYTES >> 20) + " allowed");
            }
            return real;
        } catch (InvalidPathException | IOException e) {
            throw unreadable(reference, e);
        } catch (ImageException e) {
            throw e;
        } catch (IllegalArgumentException e) {
            throw new ImageException(shown(reference) + ": not a usable path (" + e.getMessage() + ")", e);
        } catch (RuntimeException e) {
            // Elasticsearch's entitlements refuse what the policy doesn't allow.
            throw new ImageException(shown(reference) + ": this node may not read it (" + e.getClass().getSimpleName() + ")");
        }
    }

    /** Where links lead; null where this node may not look, which entitlements see to beyond the folder. */
    private static Path resolved(Path named) throws IOException {
        try {
            return named.toRealPath();
        } catch (NoSuchFileException e) {
            throw e;
        } catch (IOException | RuntimeException e) {
            return null;
        }
    }

    private static ImageException unreadable(String reference, Exception e) {
        return new ImageException(shown(reference) + ": can't be read (" + why(e) + ")");
    }

    /** Without the file's whole path, which is only the operator's business; so an error has no cause here, either. */
    private static String why(Exception e) {
        String reason = e instanceof FileSystemException failed ? failed.getReason() : e.getMessage();
        return reason == null ? e.getClass().getSimpleName() : reason;
    }

    private static ImageException outside(String reference) {
        return new ImageException(shown(reference) + ": lies outside the image folder");
    }

    /** The error with the reference before it, unless it stands there already. */
    public static ImageException named(String reference, ImageException error) {
        String name = shown(reference);
        return error.getMessage().contains(name) ? error : new ImageException(name + ": " + error.getMessage(), error);
    }

    /** The reference as messages show it: without possible secrets, and without the image's own data. */
    static String shown(String reference) {
        if (isInline(reference)) {
            int comma = isDataUri(reference) ? reference.indexOf(',') + 1 : 0;
            String data = reference.substring(comma, Math.min(comma + 24, reference.length()));
            String size = String.format(Locale.ROOT, "%,d", reference.codePointCount(0, reference.length()));
            return reference.substring(0, Math.min(comma, 60)) + data + "... (" + size + " characters)";
        }
        var url = HTTP.matcher(reference);
        String plain = url.matches() ? url.group(1).toLowerCase(Locale.ROOT) + "://" + url.group(2) + (url.group(3) == null ? "" : "?...") : reference;
        return plain.length() <= 120 ? plain : plain.substring(0, 117) + "...";
    }
}
