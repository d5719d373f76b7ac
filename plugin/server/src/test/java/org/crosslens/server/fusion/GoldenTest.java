package org.crosslens.server.fusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.crosslens.server.Golden;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every normalizer and mean, and fusion by evidence, give the golden files' totals and parts, to 9 digits. */
class GoldenTest {

    static List<Map<String, Object>> fusion() throws IOException {
        return Golden.lines("fusion");
    }

    static List<Map<String, Object>> evidence() throws IOException {
        return Golden.lines("evidence");
    }

    @ParameterizedTest
    @MethodSource("fusion")
    void fusionIsAsRecorded(Map<String, Object> line) {
        List<Map<String, Object>> recorded = Golden.objects(line.get("legs"));
        Map<String, Object> totals = Golden.object(line.get("totals")), parts = Golden.object(line.get("parts"));
        Set<String> keys = keys(recorded, "raw", totals);
        List<Fusion.Leg> legs = new ArrayList<>();
        for (Map<String, Object> leg : recorded) {
            List<?> moments = (List<?>) leg.get("moments");
            legs.add(
                new Fusion.Leg(
                    scores(keys, leg.get("raw")),
                    Golden.number(leg.get("floor")),
                    leg.get("weight") == null ? 1 : Golden.number(leg.get("weight")),
                    moments == null ? null : new Fusion.Moments(Golden.number(moments.get(0)), Golden.number(moments.get(1))),
                    among(keys, (List<?>) leg.getOrDefault("found", List.copyOf(keys))),
                    among(keys, (List<?>) leg.getOrDefault("lacks", List.of()))
                )
            );
        }
        Normalizer normalizer = Normalizer.parse((String) line.get("normalizer"));
        Fusion.Fused fused = Fusion.fuse(legs, normalizer, Fusion.Mean.parse((String) line.get("mean")));
        int d = 0;
        for (String key : keys) {
            expect(totals.get(key), fused.totals()[d], key);
            for (int i = 0; i < legs.size(); i++) {
                List<?> part = (List<?>) Golden.object(parts.get((String) recorded.get(i).get("name"))).get(key);
                expect(part.get(0), fused.normalized()[i][d], key);
                expect(part.get(1), fused.weighted()[i][d], key);
            }
            d++;
        }
    }

    @ParameterizedTest
    @MethodSource("evidence")
    void evidenceIsAsRecorded(Map<String, Object> line) {
        List<Map<String, Object>> recorded = Golden.objects(line.get("legs"));
        Map<String, Object> totals = Golden.object(line.get("totals")), parts = Golden.object(line.get("parts"));
        Set<String> keys = keys(recorded, "found", totals);
        List<Evidence.Leg> legs = new ArrayList<>();
        for (Map<String, Object> leg : recorded) {
            legs.add(
                new Evidence.Leg(
                    (String) leg.get("source"),
                    Golden.number(leg.get("weight")),
                    scores(keys, leg.get("found")),
                    Golden.number(leg.get("floor")),
                    (int) leg.get("depth"),
                    Golden.number(leg.get("attainable")),
                    among(keys, (List<?>) leg.get("lacks"))
                )
            );
        }
        Evidence.Fused fused = Evidence.fuse(legs);
        int d = 0;
        for (String key : keys) {
            expect(totals.get(key), fused.totals()[d], key);
            for (int i = 0; i < legs.size(); i++) {
                List<?> part = (List<?>) Golden.object(parts.get((String) recorded.get(i).get("name"))).get(key);
                expect(part.get(0), fused.normalized()[i][d], key);
                expect(part.get(1), fused.weighted()[i][d], key);
                expect(part.get(2), fused.chance()[i][d], key);
                expect(part.get(3), fused.covered()[i][d], key);
            }
            d++;
        }
    }

    /** Every document that has a score, which are those that have a total. */
    private static Set<String> keys(List<Map<String, Object>> legs, String scores, Map<String, Object> totals) {
        Set<String> keys = new LinkedHashSet<>();
        legs.forEach(leg -> keys.addAll(Golden.object(leg.get(scores)).keySet()));
        assertEquals(totals.keySet(), keys);
        return keys;
    }

    private static boolean[] among(Set<String> keys, List<?> named) {
        boolean[] among = new boolean[keys.size()];
        int d = 0;
        for (String key : keys) {
            among[d++] = named.contains(key);
        }
        return among;
    }

    private static double[] scores(Set<String> keys, Object scores) {
        return keys.stream().mapToDouble(key -> Golden.number(Golden.object(scores).get(key))).toArray();
    }

    private static void expect(Object recorded, double found, String key) {
        double expected = Golden.number(recorded);
        if (Double.isNaN(expected)) {
            assertTrue(Double.isNaN(found), key);
        } else {
            assertEquals(expected, found, Math.max(1e-12, 1e-9 * Math.abs(expected)), key);
        }
    }
}
