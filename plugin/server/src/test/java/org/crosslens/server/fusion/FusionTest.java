package org.crosslens.server.fusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import org.crosslens.server.fusion.Fusion.Leg;
import org.crosslens.server.fusion.Fusion.Mean;
import org.crosslens.server.fusion.Fusion.Moments;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class FusionTest {

    private static final double NONE = Double.NaN;

    private static Leg leg(double floor, double weight, double... raw) {
        return leg(raw, floor, weight, null);
    }

    private static Leg leg(double[] raw, double floor, double weight, Moments moments) {
        boolean[] found = new boolean[raw.length];
        Arrays.fill(found, true);
        return new Leg(raw, floor, weight, moments, found, new boolean[raw.length]);
    }

    private static double[] scaled(Normalizer normalizer, double floor, double... raw) {
        return Fusion.fuse(List.of(leg(floor, 1, raw)), normalizer, Mean.ARITHMETIC).totals();
    }

    @Test
    void theoreticalMinMaxStartsAtTheFloor() {
        assertArrayEquals(new double[] { 1, 0.5, 0 }, scaled(Normalizer.THEORETICAL_MIN_MAX, 0, 8, 4, -1), 1e-12);
        assertArrayEquals(new double[] { 1, 0.75 }, scaled(Normalizer.THEORETICAL_MIN_MAX, -1, 1, 0.5), 1e-12);
    }

    @Test
    void minMaxStartsAtTheLeastScoreSeen() {
        assertArrayEquals(new double[] { 1, 0.25, 0 }, scaled(Normalizer.MIN_MAX, 0, 9, 3, 1), 1e-12);
        assertArrayEquals(new double[] { 1, 1 }, scaled(Normalizer.MIN_MAX, 0, 5, 5), 1e-12);
    }

    @Test
    void zScoreHasTheWindowsMeanAndDeviation() {
        assertArrayEquals(new double[] { 1, -1 }, scaled(Normalizer.Z_SCORE, 0, 3, 1), 1e-12);
        assertArrayEquals(new double[] { 0, 0, 0 }, scaled(Normalizer.Z_SCORE, 0, 0.1, 0.1, 0.1), 1e-12);
    }

    @Test
    void l2DividesByTheLength() {
        assertArrayEquals(new double[] { 0.6, 0.8, 0 }, scaled(Normalizer.L2, -1, 3, 4, -2), 1e-12);
        assertArrayEquals(new double[] { 0.6, 0.8 }, scaled(Normalizer.L2, 0, 3e-200, 4e-200), 1e-12);
    }

    @Test
    void equalScoresHaveEqualRanks() {
        assertArrayEquals(new double[] { 61 / 62.0, 1, 61 / 62.0, 61 / 64.0 }, scaled(Normalizer.RANK, 0, 5, 7, 5, 1), 1e-12);
    }

    @Test
    void completedScoresHaveNoRank() {
        boolean[] found = { true, false, true };
        Leg completed = new Leg(new double[] { 5, 7, 0 }, 0, 1, null, found, new boolean[3]);
        assertArrayEquals(new double[] { 1, 0, 0 }, Fusion.fuse(List.of(completed), Normalizer.RANK, Mean.ARITHMETIC).totals(), 0);
    }

    @ParameterizedTest
    @EnumSource(value = Normalizer.class, names = { "EVIDENCE", "STANDARDISE" }, mode = EnumSource.Mode.EXCLUDE)
    void aVectorThatIsNotMadeYetIsNotHeldAgainstADocument(Normalizer normalizer) {
        boolean[] found = { true, true, true }, lacks = { true, false, false };
        Leg vectors = new Leg(new double[] { NONE, 0.3, 0.2 }, -1, 3, null, found, lacks);
        Fusion.Fused fused = Fusion.fuse(List.of(leg(0, 1, 4, 0, 0), vectors), normalizer, Mean.ARITHMETIC);
        assertEquals(fused.normalized()[0][0], fused.totals()[0], 1e-12);
        assertEquals(0, fused.weighted()[1][0], 0);
    }

    @Test
    void standardisedLegsShareOneScaleAndOthersKeepTheirs() {
        Leg texts = leg(new double[] { 0.9, 0.8, NONE }, -1, 1, new Moments(0.7, 0.1));
        Leg images = leg(new double[] { NONE, 0.25, 0.3 }, -1, 1, new Moments(0.2, 0.02));
        Leg words = leg(0, 1, 4, NONE, 2);
        double[][] normalized = Fusion.fuse(List.of(texts, images, words), Normalizer.STANDARDISE, Mean.ARITHMETIC).normalized();
        // The largest z of any leg is 5, of the third document's image.
        assertArrayEquals(new double[] { 0.4, 0.2, 0 }, normalized[0], 1e-9);
        assertArrayEquals(new double[] { 0, 0.5, 1 }, normalized[1], 1e-9);
        assertArrayEquals(new double[] { 1, 0, 0.5 }, normalized[2], 1e-9);
    }

    @Test
    void weightsAreSharesOfTheirSum() {
        Fusion.Fused fused = Fusion.fuse(List.of(leg(0, 3, 2, 1), leg(0, 1, 1, 2)), Normalizer.THEORETICAL_MIN_MAX, Mean.ARITHMETIC);
        assertArrayEquals(new double[] { 0.75 + 0.125, 0.375 + 0.25 }, fused.totals(), 1e-12);
        assertArrayEquals(new double[] { 0.75, 0.375 }, fused.weighted()[0], 1e-12);
    }

    @Test
    void otherMeansCountOnlyLegsThatGiveSomething() {
        List<Leg> legs = List.of(leg(0, 1, 4, 2, 1), leg(0, 1, 1, NONE, 4));
        double[] geometric = Fusion.fuse(legs, Normalizer.THEORETICAL_MIN_MAX, Mean.GEOMETRIC).totals();
        assertArrayEquals(new double[] { 0.5, 0.5, 0.5 }, geometric, 1e-12);
        double[] harmonic = Fusion.fuse(legs, Normalizer.THEORETICAL_MIN_MAX, Mean.HARMONIC).totals();
        assertArrayEquals(new double[] { 0.4, 0.5, 0.4 }, harmonic, 1e-12);
    }

    @ParameterizedTest
    @EnumSource(value = Normalizer.class, names = { "EVIDENCE", "Z_SCORE" }, mode = EnumSource.Mode.EXCLUDE)
    void aLegThatFoundNothingGivesNothing(Normalizer normalizer) {
        double[] totals = Fusion.fuse(List.of(leg(0, 1, 0, 0), leg(0, 1, 2, 1)), normalizer, Mean.ARITHMETIC).weighted()[0];
        assertArrayEquals(new double[] { 0, 0 }, totals, 0);
    }

    @ParameterizedTest
    @EnumSource(value = Normalizer.class, names = "EVIDENCE", mode = EnumSource.Mode.EXCLUDE)
    void noDocumentsAreNoError(Normalizer normalizer) {
        assertEquals(0, Fusion.fuse(List.of(leg(0, 1)), normalizer, Mean.ARITHMETIC).totals().length);
    }

    @Test
    void whatMakesNoSenseIsRefused() {
        for (double weight : new double[] { -1, Double.NaN, Double.POSITIVE_INFINITY }) {
            assertThrows(IllegalArgumentException.class, () -> Fusion.check(new double[] { weight, 1 }, Normalizer.RANK, Mean.ARITHMETIC));
        }
        assertThrows(IllegalArgumentException.class, () -> Fusion.check(new double[] { 0, 0 }, Normalizer.RANK, Mean.ARITHMETIC));
        assertThrows(IllegalArgumentException.class, () -> Fusion.check(new double[] { 1 }, Normalizer.Z_SCORE, Mean.GEOMETRIC));
        assertThrows(IllegalArgumentException.class, () -> Fusion.check(new double[] { 1 }, Normalizer.EVIDENCE, Mean.HARMONIC));
        String told = assertThrows(IllegalArgumentException.class, () -> Normalizer.parse("best")).getMessage();
        assertTrue(told.contains("theoretical-min-max, min-max, z-score, l2, rank, standardise"), told);
    }
}
