package org.crosslens.server.fusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import org.crosslens.server.fusion.Evidence.Leg;
import org.junit.jupiter.api.Test;

class EvidenceTest {

    private static final double NONE = Double.NaN;

    private static Leg vectors(String source, double weight, double... found) {
        return new Leg(source, weight, found, -1, 100, NONE, new boolean[found.length]);
    }

    private static Leg words(double attainable, double... found) {
        return new Leg(null, NONE, found, 0, 100, attainable, new boolean[found.length]);
    }

    private static double[] chances(double[] logs) {
        return Arrays.stream(logs).map(Math::exp).toArray();
    }

    @Test
    void theTailPassesThroughTheFifthAndTheLast() {
        double[] scores = new double[100];
        for (int i = 0; i < scores.length; i++) {
            scores[i] = 0.9 - 0.001 * Math.sqrt(i);
        }
        double[] chances = chances(Evidence.byTail(scores));
        assertEquals(5, chances[4], 1e-9);
        assertEquals(100, chances[99], 1e-9);
        assertTrue(chances[0] < chances[1]);
    }

    @Test
    void fewOrEqualScoresTellHowManyThereAre() {
        assertArrayEquals(new double[] { 1 }, chances(Evidence.byTail(new double[] { -0.3 })), 1e-12);
        assertArrayEquals(new double[] { 2, NONE, 1 }, chances(Evidence.byTail(new double[] { 0.1, NONE, 0.2 })), 1e-12);
        assertArrayEquals(new double[] { 3, 3, 3 }, chances(Evidence.byTail(new double[] { 0.1, 0.1, 0.1 })), 1e-12);
        assertArrayEquals(new double[] { NONE }, Evidence.byTail(new double[] { NONE }), 0);
    }

    @Test
    void coverageIsOfWhatIsAttainable() {
        double[] chances = chances(Evidence.byCoverage(new double[] { 6, 4, 3, 0, NONE }, 6));
        assertArrayEquals(new double[] { 0, 1, 4, Double.POSITIVE_INFINITY, NONE }, chances, 1e-9);
        assertEquals(1, Evidence.covered(5, 5, 4), 0);
        assertEquals(0.5, Evidence.covered(2, 3, 4), 0);
        assertEquals(0, Evidence.covered(0, 0, 0), 0);
    }

    @Test
    void partsSumToTheTotalsWhichLieBetweenZeroAndOne() {
        Evidence.Fused fused = Evidence.fuse(List.of(words(4, 4, 1, NONE, NONE), vectors(null, NONE, 0.9, NONE, 0.4, 0.3)));
        for (int d = 0; d < 4; d++) {
            assertEquals(fused.totals()[d], fused.weighted()[0][d] + fused.weighted()[1][d], 1e-12);
            assertTrue(fused.totals()[d] > 0 && fused.totals()[d] < 1);
        }
        assertEquals(0, fused.weighted()[0][2], 0);
    }

    @Test
    void whatALegCantJudgeIsNotHeldAgainstTheDocument() {
        double[] found = { NONE, 0.9, 0.8, 0.2 };
        Leg able = new Leg("s", NONE, found, -1, 100, NONE, new boolean[4]);
        Leg lacking = new Leg("s", NONE, found, -1, 100, NONE, new boolean[] { true, false, false, false });
        Leg words = new Leg("s", NONE, new double[] { 4, 4, NONE, NONE }, 0, 100, 4, new boolean[4]);
        double held = Evidence.fuse(List.of(words, able)).totals()[0], left = Evidence.fuse(List.of(words, lacking)).totals()[0];
        assertTrue(left > 0.98 && held < 0.8, left + " " + held);
    }

    @Test
    void noDocumentsAreNoError() {
        assertEquals(0, Evidence.fuse(List.of(words(1))).totals().length);
        assertEquals(0, Evidence.fuse(List.of()).totals().length);
    }
}
