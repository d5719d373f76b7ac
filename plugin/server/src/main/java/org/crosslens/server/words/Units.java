package org.crosslens.server.words;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The parts of a query that can match each by itself, and whose scores add up. */
final class Units {

    private static final int LONGEST = 20_000;
    private static final Set<String> OF_A_TEXT = Set.of("match", "match_bool_prefix", "combined_fields", "multi_match");
    private static final Set<String> PER_FIELD = Set.of("match", "match_bool_prefix");
    static final Set<String> WHOLE_TYPES = Set.of("phrase", "phrase_prefix");
    /** Everything that matches or not, as one: a phrase, an exact value. */
    private static final Set<String> WHOLE = Set.of(
        "match_phrase",
        "match_phrase_prefix",
        "term",
        "prefix",
        "wildcard",
        "regexp",
        "fuzzy",
        "intervals",
        "span_near",
        "span_term"
    );
    private static final Set<String> OF_STRINGS = Set.of("query_string", "simple_query_string");
    private static final Set<String> OPERATORS = Set.of("AND", "OR", "&&", "||");
    private static final Set<String> NEGATIONS = Set.of("NOT", "!");
    /** What says how many words must match (a single one is always enough for a probe), and what names the query. */
    private static final Set<String> DEMANDS = Set.of("operator", "minimum_should_match", "default_operator", "_name");
    private static final List<String> SCORING = List.of("must", "should");
    private static final Set<String> SCORE_MODES = Set.of("avg", "max");
    // The possessive *+ repeats without recursion: thousands of ~1 would otherwise exhaust the stack, and end the node.
    private static final Pattern STRING_PARTS = Pattern.compile(
        "(?<sign>[-+!]*)(?<unit>(?:[\\p{L}\\p{N}_.*]+:)?\"[^\"]*\"(?:[~^][\\p{Nd}.]+)*+|[^" + Texts.SPACE + "\"|()]+)|[|()]"
    );
    /** Queries that only a parser knows the parts of: groups of fields, ranges, expressions, escapes. */
    private static final Pattern OPAQUE = Pattern.compile("[\\\\/{}\\[\\]]|:\\(");

    private final Split split;
    private final List<Map<String, Object>> found = new ArrayList<>();

    private Units(Split split) {
        this.split = split;
    }

    /** Parts a text into words, given the fields that it is searched in (empty: the server's default ones). */
    interface Split {
        List<String> words(String text, List<String> fields);
    }

    /** A text and the fields that it is searched in. */
    record Text(String text, List<String> fields) {}

    /** The query's parts; null for a part of which nothing is known. */
    static List<Map<String, Object>> of(Map<String, Object> query, Split split) {
        Units units = new Units(split);
        units.see(query);
        return units.found;
    }

    private void see(Map<String, Object> query) {
        String kind = query.size() == 1 ? query.keySet().iterator().next() : "";
        if (query.get(kind) instanceof Map == false) {
            found.add(null);
            return;
        }
        Map<String, Object> body = Json.object(query, kind);
        if (OF_A_TEXT.contains(kind)) {
            seeText(kind, body);
        } else if (WHOLE.contains(kind)) {
            found.add(query);
        } else if (OF_STRINGS.contains(kind)) {
            seeString(kind, body);
        } else if (kind.equals("bool") && isNeutral(body.get("boost"))) {
            SCORING.forEach(clause -> clauses(body, clause).forEach(this::see));
        } else if (kind.equals("dis_max")) {
            seeAlternatives(body);
        } else if (kind.equals("nested") && SCORE_MODES.contains(body.getOrDefault("score_mode", "avg"))) {
            seeNested(body);
        } else {
            found.add(null);
        }
    }

    private static boolean isNeutral(Object boost) {
        return boost == null || boost instanceof Number number && number.doubleValue() == 1;
    }

    static List<Map<String, Object>> clauses(Map<String, Object> bool, String clause) {
        Object inner = bool.get(clause);
        return (inner instanceof Map ? List.of(inner) : Json.list(inner)).stream().map(Json::object).toList();
    }

    /** Of several queries for one text, of which the best counts, the words of that text. */
    private void seeAlternatives(Map<String, Object> body) {
        List<Map<String, Object>> queries = clauses(body, "queries");
        List<Text> texts = new ArrayList<>();
        boolean alike = true;
        for (Map<String, Object> each : queries) {
            alike &= of(each, (text, fields) -> {
                texts.add(new Text(text, fields));
                return List.of(text);
            }).size() == 1;
        }
        if (alike == false || texts.size() != queries.size() || texts.stream().map(Text::text).distinct().count() != 1) {
            found.add(null);
            return;
        }
        List<String> fields = texts.stream().flatMap(text -> text.fields().stream()).distinct().toList();
        for (String word : split.words(texts.get(0).text(), fields)) {
            List<Map<String, Object>> parts = new ArrayList<>();
            queries.forEach(each -> parts.addAll(of(each, (text, its) -> List.of(word))));
            Map<String, Object> asked = new LinkedHashMap<>(body);
            asked.remove("_name");
            asked.put("queries", parts);
            found.add(Map.of("dis_max", asked));
        }
    }

    private void seeNested(Map<String, Object> body) {
        for (Map<String, Object> unit : of(Json.object(body, "query"), split)) {
            if (unit == null) {
                found.add(null);
                continue;
            }
            Map<String, Object> wrapped = new LinkedHashMap<>(body);
            wrapped.remove("inner_hits");
            wrapped.put("query", unit);
            found.add(Map.of("nested", wrapped));
        }
    }

    private void seeText(String kind, Map<String, Object> body) {
        boolean perField = PER_FIELD.contains(kind);
        if (perField && body.size() != 1) {
            found.add(null);
            return;
        }
        String field = perField ? body.keySet().iterator().next() : null;
        Object said = perField ? body.get(field) : body;
        Map<String, Object> how = said instanceof Map ? Json.object(said) : Map.of("query", said);
        if (WHOLE_TYPES.contains(String.valueOf(how.get("type")))) {
            found.add(Map.of(kind, body));
            return;
        }
        if (how.get("query") instanceof String == false) {
            // A number, a date or a boolean is one word.
            boolean one = how.get("query") instanceof Number || how.get("query") instanceof Boolean;
            found.add(one ? Map.of(kind, body) : null);
            return;
        }
        List<String> fields = perField ? List.of(field) : strings(how.get("fields"));
        // Of the type bool_prefix only the last word is a beginning; as a probe any may be one.
        for (String word : split.words(Texts.start((String) how.get("query"), LONGEST), fields)) {
            Map<String, Object> wanted = asking(how, word);
            found.add(Map.of(kind, perField ? Map.of(field, wanted) : wanted));
        }
    }

    /** A text with operators: phrases and words are parts; what is excluded, and the operators, are none. */
    private void seeString(String kind, Map<String, Object> body) {
        if (body.get("query") instanceof String == false || OPAQUE.matcher((String) body.get("query")).find()) {
            found.add(null);
            return;
        }
        List<String> named = strings(body.get("fields"));
        Object otherwise = body.get("default_field");
        List<String> fields = named.isEmpty() && otherwise != null ? List.of(otherwise.toString()) : named;
        boolean words = kind.equals("query_string"), negated = false;
        Matcher part = STRING_PARTS.matcher(Texts.start((String) body.get("query"), LONGEST));
        while (part.find()) {
            String unit = part.group("unit"), sign = part.group("sign") == null ? "" : part.group("sign");
            if (unit == null || words && OPERATORS.contains(unit)) {
                continue;
            }
            if (words && NEGATIONS.contains(unit)) {
                negated = true;
                continue;
            }
            boolean excluded = negated || sign.contains("-") || sign.contains("!");
            negated = false;
            if (excluded) {
                continue;
            }
            // Operators of its own, a field or a phrase stay as they are; a bare text is parted as its fields do.
            for (String word : Texts.isAlphanumeric(unit) ? split.words(unit, fields) : List.of(unit)) {
                found.add(Map.of(kind, asking(body, word)));
            }
        }
    }

    private static Map<String, Object> asking(Map<String, Object> how, String word) {
        Map<String, Object> wanted = new LinkedHashMap<>(how);
        wanted.keySet().removeAll(DEMANDS);
        wanted.put("query", word);
        return wanted;
    }

    private static List<String> strings(Object several) {
        return Json.list(several).stream().map(String::valueOf).toList();
    }

    /** The fields that a query's parts name by themselves. */
    static Set<String> named(Map<String, Object> query) {
        Set<String> names = new LinkedHashSet<>();
        query.forEach((kind, said) -> {
            Map<String, Object> body = Json.object(said);
            if (kind.equals("span_near")) {
                clauses(body, "clauses").forEach(each -> names.addAll(named(each)));
            } else if (WHOLE.contains(kind) || PER_FIELD.contains(kind)) {
                body.keySet().stream().filter(name -> name.equals("boost") == false && name.equals("_name") == false).forEach(names::add);
            } else if (kind.equals("bool")) {
                SCORING.forEach(clause -> clauses(body, clause).forEach(each -> names.addAll(named(each))));
            } else if (kind.equals("dis_max")) {
                clauses(body, "queries").forEach(each -> names.addAll(named(each)));
            } else if (kind.equals("nested")) {
                names.addAll(named(Json.object(body, "query")));
            }
        });
        return names;
    }
}
