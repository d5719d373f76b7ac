package org.crosslens.server.words;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * What a keyword query could get at most: searches for the best score of each of its words, by the rules of the Python
 * package's {@code crosslens.queries.probes}, on the query's JSON. {@code times} is how often each stands in the query, of
 * {@code words} in all, and {@code parts} are what each asks for. {@code every}, where it isn't empty, is what a document with every word meets: the best one of
 * them is asked for after the words.
 */
public record Probes(
    List<Map<String, Object>> searches,
    int[] times,
    int words,
    List<Map<String, Object>> every,
    List<Map<String, Object>> parts
) {

    /** More words are sampled evenly: what the rest can get is taken to be as much on average. */
    static final int MOST = 16;
    // Scores are single floats, added up in another order.
    private static final double ROUNDED = 1e-5;
    private static final Set<String> OF_SEVERAL_FIELDS = Set.of("combined_fields", "multi_match");

    /** Null for a query whose best score can't be known. */
    static Probes of(Map<String, Object> query, Units.Split split) {
        List<Map<String, Object>> units = Units.of(query, split);
        if (units.isEmpty() || units.contains(null)) {
            return null;
        }
        Map<Map<String, Object>, Integer> counted = new LinkedHashMap<>();
        units.forEach(unit -> counted.merge(unit, 1, Integer::sum));
        List<Map<String, Object>> distinct = new ArrayList<>(counted.keySet()), every = List.of();
        if (distinct.size() <= MOST) {
            every = distinct.stream().map(unit -> reading(unit, "all")).toList();
        }
        if (distinct.size() > MOST) {
            List<Map<String, Object>> sampled = new ArrayList<>();
            for (int i = 0; i < MOST; i++) {
                sampled.add(distinct.get(i * distinct.size() / MOST));
            }
            distinct = sampled;
        }
        return new Probes(
            distinct.stream().map(Probes::search).toList(),
            distinct.stream().mapToInt(counted::get).toArray(),
            units.size(),
            every,
            distinct
        );
    }

    /** The texts that would be parted, each with the fields that it is searched in. */
    static Set<Units.Text> texts(Map<String, Object> query) {
        Set<Units.Text> texts = new LinkedHashSet<>();
        Units.of(query, (text, fields) -> {
            texts.add(new Units.Text(text, fields));
            return Texts.split(text);
        });
        return texts;
    }

    /** The fields that a query's scoring parts name; none where they aren't known, or are the server's default ones. */
    static Set<String> fields(Map<String, Object> query) {
        Set<String> fields = Units.named(query);
        texts(query).forEach(text -> fields.addAll(text.fields()));
        return fields;
    }

    /**
     * What a document could get at most, from the best score of each search: 0 where only the analysis left nothing of the
     * word, NaN where nothing was found.
     *
     * <p>That is {@code found}, the best score that the query found, where a document with every word has it. Else the mean
     * of the words' best scores times the number of words; NaN where nothing is known of any word.
     */
    public double attainable(double[] best, double found) {
        if (every.isEmpty() == false && found > 0 && best[times.length] >= found * (1 - ROUNDED)) {
            return found;
        }
        double total = 0, known = 0, none = 0, asked = 0;
        for (int i = 0; i < times.length; i++) {
            asked += times[i];
            if (best[i] > 0) {
                total += times[i] * best[i];
                known += times[i];
            } else if (Double.isNaN(best[i]) == false) {
                none += times[i];
            }
        }
        return known > 0 ? total / known * (words * (asked - none) / asked) : Double.NaN;
    }

    /**
     * The same query with the words that nobody wrote, by the {@code best} score of each search, spelt a little otherwise;
     * null where there are none, or the query isn't of words alone.
     */
    public Respelt respelt(Map<String, Object> query, double[] best) {
        if (every.isEmpty()) {
            return null;
        }
        List<Map<String, Object>> should = new ArrayList<>(), searches = new ArrayList<>();
        List<Integer> places = new ArrayList<>();
        for (int i = 0; i < times.length; i++) {
            Map<String, Object> fuzzy = Double.isNaN(best[i]) ? Spelling.fuzzy(parts.get(i)) : null, part = fuzzy == null ? parts.get(i) : fuzzy;
            should.add(times[i] == 1 ? part : Map.of("bool", Map.of("must", List.of(part), "boost", times[i])));
            if (fuzzy != null) {
                searches.add(fuzzy);
                places.add(i);
            }
        }
        Map<String, Object> asked = places.isEmpty() ? null : Spelling.within(query, Map.of("bool", Map.of("should", should)));
        return asked == null ? null : new Respelt(asked, searches, places, this);
    }

    /** A query for another spelling, and searches for the best scores of the words at {@code places}. */
    public record Respelt(Map<String, Object> query, List<Map<String, Object>> searches, List<Integer> places, Probes of) {

        /** As {@link Probes#attainable}, of the words as typed and of those spelt otherwise; NaN where none was found. */
        public double attainable(double[] typed, double[] otherwise) {
            double[] best = typed.clone();
            boolean any = false;
            for (int i = 0; i < otherwise.length; i++) {
                best[places.get(i)] = otherwise[i];
                any |= Double.isNaN(otherwise[i]) == false;
            }
            return any ? of.attainable(best, 0) : Double.NaN;
        }
    }

    /** The best score that a part gets alone; a hit of score 0 means that the analysis leaves nothing of it. */
    private static Map<String, Object> search(Map<String, Object> unit) {
        Map<String, Object> found = reading(unit, "none"), left = reading(unit, "all");
        if (left == unit) {
            return unit;
        }
        return Map.of("bool", Map.of("should", List.of(found, Map.of("bool", Map.of("filter", List.of(left))))));
    }

    /** The part, that matches "none" or "all" where the analysis leaves nothing of it; the same where that can't be. */
    private static Map<String, Object> reading(Map<String, Object> unit, String zeroTerms) {
        String kind = unit.keySet().iterator().next();
        Map<String, Object> body = Json.object(unit, kind);
        if (kind.equals("nested")) {
            Map<String, Object> query = Json.object(body, "query"), inner = reading(query, zeroTerms);
            return inner == query ? unit : Map.of(kind, with(body, "query", inner));
        }
        if (kind.equals("dis_max")) {
            List<Map<String, Object>> before = Units.clauses(body, "queries");
            List<Map<String, Object>> after = before.stream().map(each -> reading(each, zeroTerms)).toList();
            boolean alike = IntStream.range(0, after.size()).allMatch(i -> after.get(i) == before.get(i));
            return alike ? unit : Map.of(kind, with(body, "queries", after));
        }
        if (kind.equals("match")) {
            String field = body.keySet().iterator().next();
            boolean plain = body.get(field) instanceof Map == false;
            return plain ? unit : Map.of(kind, Map.of(field, with(Json.object(body, field), "zero_terms_query", zeroTerms)));
        }
        if (OF_SEVERAL_FIELDS.contains(kind) && Units.WHOLE_TYPES.contains(String.valueOf(body.get("type"))) == false) {
            return Map.of(kind, with(body, "zero_terms_query", zeroTerms));
        }
        return unit;
    }

    private static Map<String, Object> with(Map<String, Object> body, String key, Object value) {
        Map<String, Object> changed = new LinkedHashMap<>(body);
        changed.put(key, value);
        return changed;
    }
}
