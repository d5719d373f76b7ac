package org.crosslens.server.work;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** Counts of a lane since the node started. */
final class LaneStats {

    final LongAdder texts = new LongAdder();
    final LongAdder images = new LongAdder();
    final LongAdder failed = new LongAdder();
    final LongAdder rejected = new LongAdder();
    final LongAdder ended = new LongAdder();
    final Histogram latency = new Histogram();

    Map<String, Object> asMap(int waiting, int working, int capacity) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("texts", texts.sum());
        map.put("images", images.sum());
        map.put("failed", failed.sum());
        map.put("rejected", rejected.sum());
        map.put("ended", ended.sum());
        map.put("queue", waiting);
        map.put("working", working);
        map.put("queue_size", capacity);
        map.put("latency", latency.asMap());
        return map;
    }
}
