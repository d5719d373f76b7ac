package org.crosslens.server.hybrid;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.crosslens.server.fusion.Evidence;
import org.crosslens.server.words.Probes;
import org.elasticsearch.action.search.MultiSearchResponse;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.search.SearchHit;

/** What the windows of a search found, by the documents' places in a point in time; and which of them will be shown. */
final class Found {

    /** What the client calls a clause that says whether a document has the vector of the leg named after it. */
    static final String HAS = "crosslens has ";
    // From so many documents on, rounding changes totals no more than in a window of a hundred; as in Python.
    private static final int FEW = 10;
    // What Python and Java may differ by in a total, many times over.
    private static final double SAME = 1e-9;

    /** A leg's window: places and scores, best first, and by other leg the ranks of those that lack its vector. */
    record Window(long[] places, float[] scores, Map<Integer, List<Integer>> lacks) {}

    private final Asked asked;
    private final List<Window> windows = new ArrayList<>();
    private final Map<Long, Integer> rows = new LinkedHashMap<>();

    /** {@code answers} are those of the windows, none of which failed. */
    Found(Asked asked, List<SearchResponse> answers) {
        this.asked = asked;
        for (int i = 0; i < answers.size(); i++) {
            SearchHit[] hits = answers.get(i).getHits().getHits();
            long[] places = new long[hits.length];
            float[] scores = new float[hits.length];
            Map<Integer, List<Integer>> lacks = new LinkedHashMap<>();
            for (int d = 0; d < hits.length; d++) {
                Object[] sorts = hits[d].getRawSortValues();
                places[d] = (long) sorts[sorts.length - 1];
                scores[d] = hits[d].getScore();
                rows.putIfAbsent(places[d], rows.size());
                List<String> matched = List.of(hits[d].getMatchedQueries());
                for (int other : asked.legs.get(i).siblings()) {
                    if (matched.contains(HAS + asked.legs.get(other).name()) == false) {
                        lacks.computeIfAbsent(other, ignored -> new ArrayList<>()).add(d);
                    }
                }
            }
            windows.add(new Window(places, scores, lacks));
        }
    }

    Window window(int i) {
        return windows.get(i);
    }

    /** Every document that any leg found. */
    List<Long> places() {
        return List.copyOf(rows.keySet());
    }

    /**
     * The documents to show, in no order; with those that equal the last one, or the last one before the first, by their
     * totals. Null where more must be asked first, by whoever knows the query: for words of another spelling, or for scores of few
     * documents that are rounded; or where more than {@link Asked.Shown#most} are equal.
     */
    List<Long> chosen(MultiSearchResponse.Item[] answers) {
        double[] attainable = new double[asked.legs.size()];
        int at = asked.legs.size();
        for (int i = 0; i < attainable.length; i++) {
            Asked.Leg leg = asked.legs.get(i);
            float[] scores = windows.get(i).scores;
            if (leg.rough() && scores.length > 1 && scores.length < FEW) {
                return null;
            }
            attainable[i] = Double.NaN;
            if (leg.words() == null) {
                continue;
            }
            MultiSearchResponse.Item[] said = Arrays.copyOfRange(answers, at, at + leg.words().searches());
            at += said.length;
            if (Arrays.stream(said).anyMatch(Found::failed)) {
                continue;
            }
            double[] best = Arrays.stream(said).mapToDouble(Found::best).toArray();
            boolean unwritten = Arrays.stream(best, 0, leg.words().times().length).anyMatch(Double::isNaN);
            if (unwritten && leg.words().spelling() && leg.words().whole()) {
                return null;
            }
            attainable[i] = attainable(leg.words(), best, scores.length == 0 ? 0 : scores[0]);
        }
        return best(Evidence.fuse(heard(attainable)).totals());
    }

    private static boolean failed(MultiSearchResponse.Item item) {
        return item.isFailure() || item.getResponse().getFailedShards() > 0;
    }

    private static double best(MultiSearchResponse.Item item) {
        SearchHit[] hits = item.getResponse().getHits().getHits();
        return hits.length == 0 ? Double.NaN : hits[0].getScore();
    }

    private static double attainable(Asked.Words words, double[] best, double found) {
        List<Map<String, Object>> every = words.whole() ? List.of(Map.of()) : List.of();
        return new Probes(List.of(), words.times(), words.count(), every, List.of()).attainable(best, found);
    }

    private List<Evidence.Leg> heard(double[] attainable) {
        List<Evidence.Leg> heard = new ArrayList<>();
        Map<Integer, boolean[]> lacks = new HashMap<>();
        for (Window window : windows) {
            window.lacks.forEach((other, ranks) -> {
                boolean[] lacking = lacks.computeIfAbsent(other, ignored -> new boolean[rows.size()]);
                ranks.forEach(d -> lacking[rows.get(window.places[d])] = true);
            });
        }
        for (int i = 0; i < windows.size(); i++) {
            Asked.Leg leg = asked.legs.get(i);
            Window window = windows.get(i);
            double[] found = new double[rows.size()];
            Arrays.fill(found, Double.NaN);
            for (int d = 0; d < window.places.length; d++) {
                found[rows.get(window.places[d])] = leg.raw(window.scores[d]);
            }
            boolean[] lacking = lacks.getOrDefault(i, new boolean[rows.size()]);
            heard.add(new Evidence.Leg(leg.source(), leg.weight(), found, leg.floor(), leg.window(), attainable[i], lacking));
        }
        return heard;
    }

    private List<Long> best(double[] totals) {
        Asked.Shown shown = asked.shown;
        int[] order = IntStream.range(0, totals.length)
            .filter(d -> totals[d] >= shown.minScore() - SAME)
            .boxed()
            .sorted(Comparator.comparingDouble(d -> -totals[d]))
            .mapToInt(d -> d)
            .toArray();
        int last = (int) Math.min((long) shown.from() + shown.size(), order.length) - 1;
        if (shown.size() == 0 || last < shown.from()) {
            return List.of();
        }
        double least = totals[order[last]] - SAME, greatest = totals[order[shown.from()]] + SAME;
        List<Long> places = places();
        List<Long> chosen = Arrays.stream(order)
            .filter(d -> totals[d] >= least && totals[d] <= greatest)
            .mapToObj(places::get)
            .toList();
        return chosen.size() > shown.most() ? null : chosen;
    }
}
