package org.crosslens.server.search;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.lucene.search.join.ScoreMode;
import org.crosslens.server.fusion.Saying;
import org.crosslens.server.fusion.Sources;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.cluster.metadata.IndexMetadata;
import org.elasticsearch.common.cache.Cache;
import org.elasticsearch.common.cache.CacheBuilder;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.QueryBuilders;

/**
 * What the mapping says of a {@code dense_vector} field: how its {@code _score} reads, whether several vectors lie in
 * nested objects, whether they are compared roughly, and what crosslens recorded of it (null: nothing).
 */
record VectorField(String similarity, boolean nested, boolean quantised, String path, Recorded recorded) {

    /**
     * The model, by its fingerprint, of a field's vectors, and what they were made from: {@code part} is what of a sound or
     * video they show, and null otherwise.
     */
    record Recorded(String fingerprint, String modality, String part, List<String> sources) {

        /** How the sources are read. */
        private List<String> ways() {
            return part == null ? List.of(modality) : part.equals("both") ? List.of(Sources.FRAMES, Sources.SOUND) : List.of(part);
        }
    }

    /** For a field of another cluster, whose mapping isn't at hand. */
    static VectorField unknown(String field) {
        return new VectorField("cosine", false, true, field, null);
    }

    private record Key(String index, long mappingVersion, String field) {}

    private static final Cache<Key, Map<String, VectorField>> CACHE = CacheBuilder.<Key, Map<String, VectorField>>builder()
        .setMaximumWeight(1_000)
        .build();

    /** The definition of {@code field} in the first of the indices that maps it. */
    static VectorField of(String field, ResolvedIndices indices) {
        if (indices == null) {
            return unknown(field);
        }
        for (IndexMetadata index : indices.getConcreteLocalIndicesMetadata().values()) {
            VectorField found = of(field, index);
            if (found != null) {
                return found;
            }
        }
        return unknown(field);
    }

    /** The definition of {@code field} in {@code index}; null where it maps no such vector field. */
    static VectorField of(String field, IndexMetadata index) {
        Key key = new Key(index.getIndexUUID(), index.getMappingVersion(), field);
        Map<String, VectorField> known = CACHE.get(key);
        if (known == null) {
            known = read(field, index);
            CACHE.put(key, known);
        }
        return known.get(field);
    }

    /** Whether {@code _score} is (1 + cosine) / 2. */
    boolean isCosine() {
        return similarity.equals("cosine") || similarity.equals("dot_product");
    }

    /** The leg's own scale: the cosine where there is one, else the score. */
    double raw(double score) {
        return isCosine() ? 2 * score - 1 : score;
    }

    /** The recorded fingerprint; null for none. */
    String fingerprint() {
        return recorded == null ? null : recorded.fingerprint();
    }

    /** What the vectors were made from; of a field that isn't recorded, the vectors themselves. */
    Set<Sources.Read> reads() {
        if (recorded == null) {
            return Set.of(new Sources.Read("vector", path));
        }
        return recorded.ways()
            .stream()
            .flatMap(way -> recorded.sources().stream().map(source -> new Sources.Read(way, source)))
            .collect(Collectors.toSet());
    }

    /** What an explanation calls them. */
    Saying.Noun noun() {
        return recorded == null ? Saying.Noun.VECTOR : Saying.Noun.of(recorded.modality(), recorded.part());
    }

    /** A query that the documents meet which have a vector in {@code field}. */
    QueryBuilder hasValue(String field) {
        QueryBuilder exists = QueryBuilders.existsQuery(field);
        return nested ? QueryBuilders.nestedQuery(path, exists, ScoreMode.None).ignoreUnmapped(true) : exists;
    }

    /** The least raw score possible. */
    double floor() {
        return isCosine() ? -1 : 0;
    }

    private static Map<String, VectorField> read(String field, IndexMetadata index) {
        Map<String, VectorField> found = new HashMap<>();
        if (index.mapping() == null) {
            return found;
        }
        Map<String, Object> mapping = index.mapping().sourceAsMap(), at = mapping;
        String nestedPath = null;
        StringBuilder path = new StringBuilder();
        for (String part : List.of(field.split("\\."))) {
            at = object(object(at, "properties"), part);
            path.append(path.isEmpty() ? "" : ".").append(part);
            if ("nested".equals(at.get("type"))) {
                nestedPath = path.toString();
            }
        }
        if ("dense_vector".equals(at.get("type"))) {
            String similarity = String.valueOf(at.getOrDefault("similarity", "cosine"));
            Object type = object(at, "index_options").get("type");
            boolean quantised = "hnsw".equals(type) == false && "flat".equals(type) == false;
            String recorded = nestedPath == null ? field : nestedPath;
            found.put(field, new VectorField(similarity, nestedPath != null, quantised, recorded, recorded(mapping, recorded)));
        }
        return found;
    }

    private static Recorded recorded(Map<String, Object> mapping, String path) {
        Map<String, Object> fields = object(object(object(mapping, "_meta"), "crosslens"), "fields");
        for (String name : fields.keySet()) {
            Map<String, Object> entry = object(fields, name);
            if (path.equals(entry.getOrDefault("path", name))) {
                List<?> sources = entry.get("sources") instanceof List<?> list ? list : List.of();
                return new Recorded(
                    String.valueOf(entry.get("fingerprint")),
                    String.valueOf(entry.get("modality")),
                    entry.get("part") instanceof String part ? part : null,
                    sources.stream().map(String::valueOf).toList()
                );
            }
        }
        return null;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> object(Map<String, Object> from, String key) {
        return from.get(key) instanceof Map<?, ?> map ? (Map<String, Object>) map : Map.of();
    }
}
