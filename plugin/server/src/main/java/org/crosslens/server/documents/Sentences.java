package org.crosslens.server.documents;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.TreeMap;

/**
 * Where sentences end, by Unicode's rules (UAX #29, "Sentence Boundaries"), one sentence after the other. Equal to the
 * Python package's {@code crosslens.ingest.model.sentences}, whose table of characters this is as well.
 *
 * <p>Reading one takes time in proportion to its length, and no memory.
 */
final class Sentences {

    private final String text;
    private int next;
    private int start;
    private int end;

    Sentences(String text) {
        this.text = text;
    }

    /** Goes to the next sentence that isn't blank; returns whether there is one. */
    boolean advance() {
        while (next < text.length()) {
            start = next;
            next = end = following(start);
            while (start < end && Python.isSpace(text.charAt(start))) {
                start++;
            }
            while (end > start && Python.isSpace(text.charAt(end - 1))) {
                end--;
            }
            if (start < end) {
                return true;
            }
        }
        return false;
    }

    /** Where the sentence begins in the text, in UTF-16 units. */
    int start() {
        return start;
    }

    /** Where it ends, exclusive; white space around it isn't part of it. */
    int end() {
        return end;
    }

    /** The end of the sentence that begins at {@code i}, with the space after it. */
    int following(int i) {
        char before = 0;
        while (i < text.length()) {
            char found = classAt(i);
            if (endsParagraph(found)) {
                // SB3, SB4
                return i + (found == 'c' && i + 1 < text.length() && classAt(i + 1) == 'l' ? 2 : 1);
            }
            int after = after(i);
            if (found != 'A' && found != 'T') {
                before = found;
                i = after;
                continue;
            }
            // What may end a sentence (SB8 to SB11): a full stop, with closing marks and spaces after it.
            int stop = after;
            char last = found;
            for (; stop < text.length() && classAt(stop) == 'q'; stop = after(stop)) {
                last = 'q';
            }
            for (; stop < text.length() && classAt(stop) == 'p'; stop = after(stop)) {
                last = 'p';
            }
            boolean something = stop < text.length() && endsParagraph(classAt(stop)) == false;
            if (something && ends(found, before, stop == after, stop)) {
                return stop;
            }
            before = last;
            i = stop;
        }
        return i;
    }

    /** Whether a sentence ends with the full stop {@code found}, before what is at {@code stop}. */
    private boolean ends(char found, char before, boolean adjacent, int stop) {
        char following = classAt(stop);
        if (following == 'C' || following == 'A' || following == 'T') {
            return false;
        }
        if (found == 'T') {
            return true;
        }
        if (adjacent && (following == 'N' || following == 'U' && (before == 'U' || before == 'L'))) {
            return false;
        }
        return lowerFollows(stop) == false;
    }

    /** Whether a word in lower case is next, before which a full stop that may abbreviate ends nothing (SB8). */
    private boolean lowerFollows(int i) {
        for (; i < text.length(); i = after(i)) {
            char found = classAt(i);
            if (found == 'L') {
                return true;
            }
            if (found == 'O' || found == 'U' || found == 'A' || found == 'T' || endsParagraph(found)) {
                return false;
            }
        }
        return false;
    }

    /** The end of the character at {@code i}, with the marks and format characters that go with it (SB5). */
    private int after(int i) {
        do {
            i += Character.charCount(text.codePointAt(i));
        } while (i < text.length() && classAt(i) == 'e');
        return i;
    }

    private char classAt(int i) {
        return Classes.of(text.codePointAt(i));
    }

    private static boolean endsParagraph(char found) {
        return found == 'c' || found == 'l' || found == 's';
    }

    /** By code point, the class that it has in the rules; the letters are the table's own, and x is any other. */
    private static final class Classes {

        private static final String TABLE = "sentence_breaks.txt";
        private static final byte[] BASIC = new byte[1 << 16];
        private static final int[] FIRSTS;
        private static final int[] LASTS;
        private static final byte[] NAMES;

        static {
            TreeMap<Integer, int[]> beyond = new TreeMap<>();
            Arrays.fill(BASIC, (byte) 'x');
            try (
                InputStream in = Sentences.class.getResourceAsStream(TABLE);
                BufferedReader table = new BufferedReader(new InputStreamReader(in, StandardCharsets.US_ASCII))
            ) {
                for (String line = table.readLine(); line != null; line = table.readLine()) {
                    if (line.startsWith("#") == false) {
                        read(line, beyond);
                    }
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            FIRSTS = beyond.keySet().stream().mapToInt(first -> first).toArray();
            LASTS = beyond.values().stream().mapToInt(each -> each[0]).toArray();
            NAMES = new byte[FIRSTS.length];
            int i = 0;
            for (int[] each : beyond.values()) {
                NAMES[i++] = (byte) each[1];
            }
        }

        private static void read(String line, TreeMap<Integer, int[]> beyond) {
            String[] listed = line.split(" ");
            for (int i = 1; i < listed.length; i++) {
                String[] range = listed[i].split("-");
                int first = Integer.parseInt(range[0], 16), last = Integer.parseInt(range[range.length - 1], 16);
                if (first < BASIC.length) {
                    Arrays.fill(BASIC, first, Math.min(last + 1, BASIC.length), (byte) line.charAt(0));
                }
                if (last >= BASIC.length) {
                    beyond.put(Math.max(first, BASIC.length), new int[] { last, line.charAt(0) });
                }
            }
        }

        static char of(int point) {
            if (point < BASIC.length) {
                return (char) BASIC[point];
            }
            int at = Arrays.binarySearch(FIRSTS, point);
            int i = at >= 0 ? at : -at - 2;
            return i >= 0 && point <= LASTS[i] ? (char) NAMES[i] : 'x';
        }
    }
}
