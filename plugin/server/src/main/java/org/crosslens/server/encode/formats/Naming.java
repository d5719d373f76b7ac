package org.crosslens.server.encode.formats;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Names for files that aren't read, by their first bytes; as the Python package's {@code naming.py} names them. */
public final class Naming {

    /** As much of a file as its name depends on, in bytes. */
    public static final int LOOKED_AT = 4096;

    private static final String CLIENT = ", which is not read in the cluster (the crosslens command can read it)";
    private static final Map<String, String> OTHERS = new LinkedHashMap<>();
    private static final Set<String> HEIF_BRANDS = Set.of("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1");
    private static final Pattern HTML = Pattern.compile("<(!doctype html|html|head|body|script|meta|title)\\b.*", Pattern.DOTALL);
    private static final Pattern JSON = Pattern.compile("[{\\[]\\s*([\"{\\[\\]}]|-?\\d|true|false|null).*", Pattern.DOTALL);
    private static final Pattern TITLE = Pattern.compile("<title[^>]*>(.*?)</title", Pattern.CASE_INSENSITIVE | Pattern.DOTALL);
    private static final Pattern COMMENT = Pattern.compile("<!--.*?(-->|\\z)", Pattern.DOTALL);
    private static final Pattern ELEMENT = Pattern.compile("<(?![?!])([A-Za-z][\\w.:-]*)");

    static {
        OTHERS.put("%PDF-", "a PDF document");
        OTHERS.put("version https://git-lfs.github.com/", "a Git LFS pointer, whose picture was never downloaded");
        OTHERS.put("%!PS", "a PostScript document");
        OTHERS.put("\u00c5\u00d0\u00d3\u00c6", "a PostScript document");
        OTHERS.put("8BPS", "a Photoshop document");
        OTHERS.put("\u00ff\n", "a JPEG XL picture");
        OTHERS.put("\0\0\0\fJXL \r\n\u0087\n", "a JPEG XL picture");
        OTHERS.put("\0\0\0\fjP  \r\n\u0087\n", "a JPEG 2000 picture");
        OTHERS.put("\u00ffO\u00ffQ", "a JPEG 2000 picture");
        OTHERS.put("v/1\1", "an OpenEXR picture");
        OTHERS.put("DDS ", "a DirectDraw surface");
        OTHERS.put("\0\0\1\0", "a Windows icon");
        OTHERS.put("PK\3\4", "a ZIP archive");
        OTHERS.put("\37\u008b", "a gzip archive");
        OTHERS.put("Rar!", "a RAR archive");
        OTHERS.put("7z\u00bc\u00af'\34", "a 7z archive");
        OTHERS.put("\32E\u00df\u00a3", "a Matroska or WebM video");
        OTHERS.put("OggS", "an Ogg recording");
        OTHERS.put("ID3", "an MP3 recording");
        OTHERS.put("\u00d0\u00cf\21\u00e0\u00a1\u00b1\32\u00e1", "an Office document");
    }

    private Naming() {}

    /** Describe a file of no supported format that begins with {@code data}: "an HTML page", "a PDF document". */
    public static String description(byte[] data) {
        for (Map.Entry<String, String> other : OTHERS.entrySet()) {
            if (Bytes.starts(data, 0, other.getKey())) {
                return other.getValue();
            }
        }
        if (Bytes.starts(data, 4, "ftyp")) {
            return ofBrands(brands(data));
        }
        if (Bytes.starts(data, 0, "RIFF")) {
            return Bytes.starts(data, 8, "AVI ") ? "an AVI video"
                : Bytes.starts(data, 8, "WAVE") ? "a WAV recording"
                : "a RIFF file of another kind";
        }
        if (isZero(data)) {
            return "nothing but zero bytes";
        }
        if (isSvg(data)) {
            return "an SVG" + CLIENT;
        }
        String text = text(data);
        return text == null
            ? "a file that begins with " + HexFormat.ofDelimiter(" ").formatHex(data, 0, Math.min(8, data.length))
            : ofText(text);
    }

    /** Return whether a file of {@code format} lacks its end, as half a download does; false where that is unknown. */
    public static boolean cutOff(byte[] data, Format format) {
        return switch (format) {
            case PNG -> Bytes.contains(data, 8, "IEND\u00aeB`\u0082") == false && Bytes.contains(data, data.length - 64, "IEND") == false;
            case JPEG -> Bytes.contains(data, data.length - 64, "\u00ff\u00d9") == false;
            case GIF -> Bytes.contains(data, data.length - 16, ";") == false;
            case WEBP -> data.length < 8 || little(data, 4) + 8 > data.length;
            case BMP -> data.length < 6 || little(data, 2) > data.length;
            case TIFF -> false;
        };
    }

    private static long little(byte[] data, int at) {
        return Integer.reverseBytes(ByteBuffer.wrap(data, at, 4).getInt()) & 0xFFFFFFFFL;
    }

    /** The brands of an ISO base media file (ISO/IEC 14496-12, 4.3). */
    private static Set<String> brands(byte[] data) {
        Set<String> found = new HashSet<>();
        long size = data.length < 12 ? 0 : Math.min(ByteBuffer.wrap(data).getInt() & 0xFFFFFFFFL, Math.min(256, data.length));
        for (int at = 8; at + 4 <= Math.max(size, Math.min(12, data.length)); at += at == 8 ? 8 : 4) {
            found.add(Bytes.latin(data, at, 4));
        }
        return found;
    }

    private static String ofBrands(Set<String> brands) {
        if (brands.contains("avif") || brands.contains("avis")) {
            return "an AVIF picture" + CLIENT;
        }
        if (brands.stream().anyMatch(HEIF_BRANDS::contains)) {
            return "a HEIC picture" + CLIENT;
        }
        return brands.contains("qt  ") ? "a QuickTime video" : "an MP4 video";
    }

    private static boolean isZero(byte[] data) {
        for (byte each : data) {
            if (each != 0) {
                return false;
            }
        }
        return true;
    }

    private static boolean isSvg(byte[] data) {
        String begins = Bytes.latin(data, 0, Math.min(data.length, LOOKED_AT));
        begins = begins.replaceFirst("^[\u00ef\u00bb\u00bf \t\r\n]+", "");
        if (begins.startsWith("\u00ff\u00fe<\0") || begins.startsWith("\u00fe\u00ff\0<")) {
            begins = begins.replace("\0", "").substring(2);
        }
        if (begins.startsWith("<") == false) {
            return false;
        }
        Matcher first = ELEMENT.matcher(COMMENT.matcher(begins).replaceAll(""));
        return first.find() && first.group(1).replaceFirst(".*:", "").equalsIgnoreCase("svg");
    }

    /** The beginning as text, or null where it is none. */
    private static String text(byte[] data) {
        // The examined piece may end within a character.
        for (int cut = 0; cut < 4; cut++) {
            try {
                int length = Math.max(0, Math.min(data.length, LOOKED_AT - cut));
                String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data, 0, length)).toString();
                return text.codePoints().allMatch(Naming::isOfText) ? text : null;
            } catch (CharacterCodingException e) {
                continue;
            }
        }
        return null;
    }

    private static boolean isOfText(int character) {
        return switch (Character.getType(character)) {
            case Character.CONTROL, Character.FORMAT, Character.SURROGATE, Character.PRIVATE_USE, Character.UNASSIGNED ->
                Character.isWhitespace(character) || character == 0xFEFF || character == 0x85;
            default -> true;
        };
    }

    private static String ofText(String text) {
        String begins = text.replaceFirst("^[\ufeff \t\r\n]+", "").toLowerCase(Locale.ROOT);
        if (HTML.matcher(begins).matches() || begins.substring(0, Math.min(1024, begins.length())).contains("<html")) {
            return "an HTML page" + title(text) + ", perhaps a login or an error page";
        }
        if (begins.startsWith("<")) {
            return "an XML document";
        }
        if (JSON.matcher(begins).matches()) {
            return "a JSON document";
        }
        return "text ('" + cut(text, 40) + "')";
    }

    private static String title(String text) {
        Matcher found = TITLE.matcher(text);
        String title = found.find() ? cut(found.group(1), 60) : "";
        return title.isEmpty() ? "" : " titled '" + title + "'";
    }

    private static String cut(String text, int most) {
        String line = text.strip().replaceAll("\\s+", " ");
        return line.length() <= most ? line : line.substring(0, Character.isHighSurrogate(line.charAt(most - 1)) ? most - 1 : most);
    }
}
