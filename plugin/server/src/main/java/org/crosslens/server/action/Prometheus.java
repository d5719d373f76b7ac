package org.crosslens.server.action;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.crosslens.server.work.Encoding;

/**
 * The nodes' statistics in Prometheus's text format (version 0.0.4). Whatever a node counts is shown, under the names that
 * the JSON has: a lane becomes a label, milliseconds become seconds, and histograms become cumulative.
 */
final class Prometheus {

    static final String CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
    /** What may also fall; all else only grows while a node runs. */
    private static final Set<String> GAUGES = Set.of(
        "queue",
        "queue_size",
        "working",
        "entries",
        "bytes",
        "used_bytes",
        "limit_bytes",
        "size_bytes"
    );
    private static final Map<String, String> HELP = Map.of(
        "texts", "Texts encoded.",
        "images", "Images encoded.",
        "failed", "Inputs that could not be encoded.",
        "rejected", "Inputs that were refused because there was too much to do.",
        "ended", "Inputs that were no longer wanted before they were encoded.",
        "queue", "Inputs that wait.",
        "working", "Threads at work.",
        "latency", "Seconds from asking to answer.",
        "runs", "Seconds that a run of a graph took.",
        "breaker_used_bytes", "Memory reserved for what waits and is being decoded."
    );

    /** A metric's type and its samples, line by line. */
    private record Family(String type, String help, StringBuilder samples) {}

    private final Map<String, Family> families = new LinkedHashMap<>();

    private Prometheus() {}

    /** {@code failed} nodes did not answer. */
    static String text(List<InfoAction.NodeResponse> nodes, int failed) {
        Prometheus text = new Prometheus();
        text.sample("crosslens_failed_nodes", "gauge", "Nodes whose plugin did not answer.", "", failed);
        for (InfoAction.NodeResponse node : nodes) {
            String labels = "node=\"" + escaped(node.getNode().getName()) + '"';
            node.answer.forEach((key, value) -> text.part(key, labels, value));
        }
        StringBuilder all = new StringBuilder();
        text.families.forEach((name, family) -> {
            all.append("# HELP ").append(name).append(' ').append(family.help).append('\n');
            all.append("# TYPE ").append(name).append(' ').append(family.type).append('\n');
            all.append(family.samples);
        });
        return all.toString();
    }

    private void part(String key, String labels, Object value) {
        if (isLane(key)) {
            map("", labels + ",lane=\"" + escaped(key) + '"', value);
        } else if (value instanceof Map<?, ?> map && map.containsKey("histogram")) {
            histogram(key, labels, map);
        } else {
            map(key + "_", labels, value);
        }
    }

    private static boolean isLane(String key) {
        for (Encoding.Lane lane : Encoding.Lane.values()) {
            if (lane.name().toLowerCase(Locale.ROOT).equals(key)) {
                return true;
            }
        }
        return false;
    }

    private void map(String prefix, String labels, Object value) {
        if (value instanceof Map<?, ?> == false) {
            return;
        }
        ((Map<?, ?>) value).forEach((key, each) -> {
            String name = prefix + key;
            if (each instanceof Map<?, ?> map && map.containsKey("histogram")) {
                histogram(name, labels, map);
            } else if (each instanceof Map<?, ?>) {
                map(name + "_", labels, each);
            } else if (each instanceof Number number) {
                boolean gauge = GAUGES.contains(key);
                sample("crosslens_" + name + (gauge ? "" : "_total"), gauge ? "gauge" : "counter", help(name), labels, number);
            }
        });
    }

    /** Of counts by upper bound, which are cumulative here. */
    private void histogram(String name, String labels, Map<?, ?> histogram) {
        String family = "crosslens_" + name + "_seconds";
        StringBuilder samples = family(family, "histogram", help(name)).samples;
        long below = 0;
        for (Object each : (List<?>) histogram.get("histogram")) {
            Map<?, ?> bucket = (Map<?, ?>) each;
            below += ((Number) bucket.get("count")).longValue();
            Object bound = bucket.get("le_ms");
            String le = bound == null ? "+Inf" : Double.toString(((Number) bound).doubleValue() / 1_000);
            samples.append(family).append("_bucket{").append(labels).append(",le=\"").append(le).append("\"} ").append(below).append('\n');
        }
        double seconds = ((Number) histogram.get("total_ms")).doubleValue() / 1_000;
        samples.append(family).append("_sum{").append(labels).append("} ").append(seconds).append('\n');
        // The last bucket's, not the node's own count, which another thread may have raised meanwhile.
        samples.append(family).append("_count{").append(labels).append("} ").append(below).append('\n');
    }

    private void sample(String name, String type, String help, String labels, Number value) {
        StringBuilder samples = family(name, type, help).samples;
        samples.append(name);
        if (labels.isEmpty() == false) {
            samples.append('{').append(labels).append('}');
        }
        samples.append(' ').append(value).append('\n');
    }

    private Family family(String name, String type, String help) {
        return families.computeIfAbsent(name, each -> new Family(type, help, new StringBuilder()));
    }

    private static String help(String name) {
        return HELP.getOrDefault(name, name.replace('_', ' ') + ", as GET _crosslens/stats counts it.");
    }

    private static String escaped(String label) {
        return label.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
    }
}
