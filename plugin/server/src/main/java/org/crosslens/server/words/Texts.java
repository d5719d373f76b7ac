package org.crosslens.server.words;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Pattern;

/** Parting texts into words as the Python side does. */
final class Texts {

    /** In a class of characters: what {@code str.isspace} holds for. */
    static final String SPACE = "\\t-\\r\\x1C-\\x20\\x85\\xA0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000";
    private static final Pattern SPACES = Pattern.compile("[" + SPACE + "]+");
    /** Beginnings of the names of characters whose scripts have no spaces between words. */
    private static final List<String> SPACELESS = List.of(
        "CJK ",
        "HIRAGANA",
        "KATAKANA",
        "HALFWIDTH KATA",
        "THAI",
        "LAO ",
        "KHMER",
        "MYANMAR",
        "TIBETAN",
        "BOPOMOFO"
    );

    private Texts() {}

    /** A token's place in a text, in UTF-16 code units. */
    record Place(int start, int end) {}

    /** {@code str.split()}. */
    static List<String> split(String text) {
        return SPACES.splitAsStream(text).filter(word -> word.isEmpty() == false).toList();
    }

    /** The text parted at spaces; a word holds at least one letter or digit. */
    static List<String> inWords(String text) {
        return split(text).stream().filter(word -> word.codePoints().anyMatch(Texts::isAlphanumeric)).toList();
    }

    /** {@code str.isalnum()}. */
    static boolean isAlphanumeric(String text) {
        return text.isEmpty() == false && text.codePoints().allMatch(Texts::isAlphanumeric);
    }

    private static boolean isAlphanumeric(int character) {
        int type = Character.getType(character);
        return Character.isLetterOrDigit(character) || type == Character.LETTER_NUMBER || type == Character.OTHER_NUMBER;
    }

    /** The first {@code most} characters. */
    static String start(String text, int most) {
        return text.codePointCount(0, text.length()) <= most ? text : text.substring(0, text.offsetByCodePoints(0, most));
    }

    /** Whether the text's scripts part words by spaces: no Chinese, Japanese, Thai, Lao, Khmer, Burmese, or Tibetan. */
    static boolean spacesPart(String text) {
        return text.codePoints().noneMatch(Texts::isSpaceless);
    }

    private static boolean isSpaceless(int character) {
        if (character <= 0x0DFF) {
            return false;
        }
        String name = Character.getName(character);
        return name != null && SPACELESS.stream().anyMatch(name::startsWith);
    }

    /**
     * The words of a text by the places of each field's tokens: of several fields those of the one with the most. Of tokens
     * that lie in one another (beginnings, synonyms, parts of compounds) the longest counts; repeated words stay repeated.
     */
    static List<String> parted(Collection<List<Place>> fields, String text) {
        List<String> words = List.of();
        for (List<Place> places : fields) {
            TreeSet<Place> sorted = new TreeSet<>(Comparator.comparingInt(Place::start).thenComparingInt(place -> -place.end));
            sorted.addAll(places);
            List<String> found = new ArrayList<>();
            int last = -1;
            for (Place place : sorted) {
                if (place.end > last) {
                    found.add(text.substring(Math.min(place.start, text.length()), Math.min(place.end, text.length())));
                    last = place.end;
                }
            }
            words = found.size() > words.size() ? found : words;
        }
        return words;
    }
}
