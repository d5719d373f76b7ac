package org.crosslens.server.words;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Queries whose words may be spelt a little otherwise, by the rules of the Python package's probes. */
final class Spelling {

    // Of shorter words too many others are one letter away.
    private static final int LEAST_LETTERS = 4;
    // No longer ones are words of a language, and what is one letter away from them is costly to find.
    private static final int MOST_LETTERS = 32;
    private static final Set<String> BY_WORDS = Set.of("match", "multi_match");
    private static final Set<String> TYPES = Set.of("best_fields", "most_fields");

    private Spelling() {}

    /**
     * The query with {@code words}, a bool of what each should match, in the place of its own: of a single match or
     * multi_match that doesn't say itself how exactly words are to be taken, alone, in nested objects, which must have them
     * together, or as all that a bool must match; null for any other.
     */
    static Map<String, Object> within(Map<String, Object> query, Map<String, Object> words) {
        if (isByWords(query)) {
            return together(query, words);
        }
        if (query.size() != 1 || query.get("bool") instanceof Map == false) {
            return null;
        }
        Map<String, Object> bool = Json.object(query, "bool");
        List<Map<String, Object>> must = Units.clauses(bool, "must");
        boolean alone = must.size() == 1 && Units.clauses(bool, "should").isEmpty() && isByWords(must.get(0));
        if (alone == false) {
            return null;
        }
        Map<String, Object> changed = new LinkedHashMap<>(bool);
        changed.put("must", List.of(together(must.get(0), words)));
        return Map.of("bool", changed);
    }

    /** The words of a query in nested objects as they are looked for there: in one of them. */
    private static Map<String, Object> together(Map<String, Object> query, Map<String, Object> words) {
        if (query.get("nested") instanceof Map == false) {
            return words;
        }
        Map<String, Object> body = Json.object(query, "nested"), changed = new LinkedHashMap<>(body);
        List<Map<String, Object>> inside = Units.clauses(Json.object(words, "bool"), "should").stream().map(Spelling::inside).toList();
        changed.put("query", together(Json.object(body, "query"), Map.of("bool", Map.of("should", inside))));
        changed.remove("inner_hits");
        return Map.of("nested", changed);
    }

    private static Map<String, Object> inside(Map<String, Object> word) {
        if (word.get("nested") instanceof Map) {
            return Json.object(Json.object(word, "nested"), "query");
        }
        Map<String, Object> bool = Json.object(word, "bool");
        return Map.of("bool", Map.of("must", List.of(inside(Units.clauses(bool, "must").get(0))), "boost", bool.get("boost")));
    }

    private static Map<String, Object> within(String kind, Map<String, Object> body, String key, Object value) {
        if (value == null) {
            return null;
        }
        Map<String, Object> changed = new LinkedHashMap<>(body);
        changed.put(key, value);
        return Map.of(kind, changed);
    }

    private static boolean isByWords(Map<String, Object> query) {
        String kind = query.size() == 1 ? query.keySet().iterator().next() : "";
        if (query.get(kind) instanceof Map == false) {
            return false;
        }
        Map<String, Object> body = Json.object(query, kind);
        if (kind.equals("nested")) {
            return isByWords(Json.object(body, "query"));
        }
        if (kind.equals("dis_max")) {
            return Units.clauses(body, "queries").stream().allMatch(Spelling::isByWords);
        }
        if (BY_WORDS.contains(kind) == false) {
            return false;
        }
        Object said = kind.equals("match") ? body.values().stream().findFirst().orElse(null) : body;
        if (said instanceof Map == false) {
            return true;
        }
        Map<String, Object> how = Json.object(said);
        return how.containsKey("fuzziness") == false && TYPES.contains(how.getOrDefault("type", "best_fields").toString());
    }

    /** A word with one letter changed; null for one that is too short or too long, or no word. */
    static Map<String, Object> fuzzy(Map<String, Object> part) {
        String kind = part.keySet().iterator().next();
        Map<String, Object> body = Json.object(part, kind);
        if (kind.equals("nested")) {
            return within(kind, body, "query", fuzzy(Json.object(body, "query")));
        }
        if (kind.equals("dis_max")) {
            List<Map<String, Object>> several = new ArrayList<>();
            Units.clauses(body, "queries").forEach(each -> several.add(fuzzy(each)));
            return within(kind, body, "queries", several.contains(null) ? null : several);
        }
        if (BY_WORDS.contains(kind) == false) {
            return null;
        }
        String field = kind.equals("match") ? body.keySet().iterator().next() : null;
        Map<String, Object> how = field == null ? body : Json.object(body, field);
        String word = how.get("query") instanceof String text ? text : "";
        int letters = word.codePointCount(0, word.length());
        if (letters < LEAST_LETTERS || letters > MOST_LETTERS || word.codePoints().allMatch(Character::isLetter) == false) {
            return null;
        }
        Map<String, Object> changed = new LinkedHashMap<>(how);
        changed.put("fuzziness", 1);
        changed.put("prefix_length", 0);
        changed.put("max_expansions", 50);
        return Map.of(kind, field == null ? changed : Map.of(field, changed));
    }
}
