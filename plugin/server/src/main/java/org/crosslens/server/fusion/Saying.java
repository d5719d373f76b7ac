package org.crosslens.server.fusion;

import java.math.BigDecimal;
import java.math.RoundingMode;

/**
 * Says in words how a leg judges a document by {@code evidence}: the sentences of the Python package's
 * {@code crosslens.queries.explaining}. Numbers are rounded as there, half to even.
 */
public final class Saying {

    private static final String[] DOCUMENT = { "document", "documents" };

    private Saying() {}

    /** What a leg of vectors compares. */
    public enum Noun {
        PICTURE("picture", "pictures"),
        TEXT("text", "texts"),
        /** Of the moments of footage, by their frames. */
        SCENE("scene", "scenes"),
        SOUND("sound", "sounds"),
        /** Of moments, by the words that are spoken in them. */
        CAPTION("caption", "captions"),
        /** Of the moments of footage, by their frames and sound together. */
        CLIP("clip", "clips"),
        /** Of a field that crosslens didn't record. */
        VECTOR("vector", "vectors");

        private final String[] names;

        Noun(String one, String many) {
            names = new String[] { one, many };
        }

        /** The noun of a recorded modality and, of sound and footage, the part of it; both may be null. */
        public static Noun of(String modality, String part) {
            return switch (part != null ? part : modality != null ? modality : "") {
                case "image" -> PICTURE;
                case Sources.TEXT -> TEXT;
                case Sources.FRAMES -> SCENE;
                case Sources.SOUND -> SOUND;
                case Sources.CAPTIONS -> CAPTION;
                case "both" -> CLIP;
                default -> VECTOR;
            };
        }
    }

    /** Of a query: by the share of it that is {@code covered}, or else by {@code chance}; NaN is none. */
    public static String ofWords(double chance, double covered, boolean respelt) {
        return ofWords("words", chance, covered, respelt);
    }

    /** Of a query that searches only captions. */
    public static String ofCaptions(double chance, double covered, boolean respelt) {
        return ofWords("captions", chance, covered, respelt);
    }

    private static String ofWords(String what, double chance, double covered, boolean respelt) {
        if (Double.isNaN(chance)) {
            return "the " + what + " don't match";
        }
        if (Double.isNaN(covered) == false) {
            String spelt = respelt ? ", spelt a little otherwise" : "";
            return "the " + what + " cover " + rounded(covered * 100, 0) + " % of the query" + spelt;
        }
        return howMany(chance, DOCUMENT) + " would match the " + what + " as well by chance";
    }

    /** Of a kNN search, of whose window of {@code depth} the document is or not. */
    public static String ofVectors(Noun noun, double chance, boolean lacking, int depth) {
        if (Double.isNaN(chance) == false) {
            return howMany(chance, noun.names) + " would match as well by chance";
        }
        return lacking
            ? "it has no " + noun.names[0] + " to compare"
            : "its " + noun.names[0] + " is not among the " + depth + " nearest";
    }

    /** Of any other retriever. */
    public static String ofRanking(double chance, int depth) {
        return Double.isNaN(chance)
            ? "it is not among the " + depth + " best"
            : howMany(chance, DOCUMENT) + " would do as well by chance";
    }

    private static String howMany(double chance, String[] noun) {
        if (chance < 0.05) {
            return "next to no " + noun[0];
        }
        if (chance < 0.95) {
            return "about " + rounded(chance, 1) + " " + noun[1];
        }
        String whole = rounded(chance, 0);
        return "about " + whole + " " + (whole.equals("1") ? noun[0] : noun[1]);
    }

    private static String rounded(double value, int digits) {
        return new BigDecimal(value).setScale(digits, RoundingMode.HALF_EVEN).toPlainString();
    }
}
