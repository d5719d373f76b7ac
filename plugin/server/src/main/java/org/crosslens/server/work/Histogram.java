package org.crosslens.server.work;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** Counts of durations by upper bound, in milliseconds. Written by many threads, read by any. */
public final class Histogram {

    private static final long[] BOUNDS_MS = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000 };

    private final LongAdder[] counts = new LongAdder[BOUNDS_MS.length + 1];
    private final LongAdder count = new LongAdder();
    private final LongAdder totalNanos = new LongAdder();

    public Histogram() {
        for (int i = 0; i < counts.length; i++) {
            counts[i] = new LongAdder();
        }
    }

    void add(long nanos) {
        int i = 0;
        while (i < BOUNDS_MS.length && nanos > BOUNDS_MS[i] * 1_000_000) {
            i++;
        }
        counts[i].increment();
        count.increment();
        totalNanos.add(nanos);
    }

    /** {@code count}, {@code total_ms} and {@code histogram}: for each bound ({@code le}, null the last), how many. */
    Map<String, Object> asMap() {
        List<Map<String, Object>> histogram = new ArrayList<>();
        for (int i = 0; i < counts.length; i++) {
            Map<String, Object> bucket = new LinkedHashMap<>();
            bucket.put("le_ms", i < BOUNDS_MS.length ? BOUNDS_MS[i] : null);
            bucket.put("count", counts[i].sum());
            histogram.add(bucket);
        }
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("count", count.sum());
        map.put("total_ms", totalNanos.sum() / 1_000_000);
        map.put("histogram", histogram);
        return map;
    }
}
