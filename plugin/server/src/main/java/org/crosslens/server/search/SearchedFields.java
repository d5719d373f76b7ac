package org.crosslens.server.search;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.cluster.metadata.IndexMetadata;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.common.xcontent.XContentHelper;
import org.elasticsearch.xcontent.XContentType;

/** Finds the vector fields that a query vector is compared with, and the models recorded for them. */
public final class SearchedFields {

    /** The indices on this cluster that a search is for. */
    @FunctionalInterface
    public interface Indices {

        Collection<IndexMetadata> of(SearchRequest request);
    }

    private SearchedFields() {}

    /** Return the fields given beside {@code builder} anywhere in the search: in kNN searches, queries, retrievers. */
    static Set<String> beside(CrosslensQueryVectorBuilder builder, SearchRequest request) {
        Set<String> fields = new LinkedHashSet<>();
        try {
            collect(read(XContentHelper.toXContent(request.source(), XContentType.JSON, false)), asRead(builder), fields);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return fields;
    }

    private static Object asRead(CrosslensQueryVectorBuilder builder) throws IOException {
        return read(XContentHelper.toXContent(builder, XContentType.JSON, false));
    }

    private static Map<String, Object> read(BytesReference json) {
        return XContentHelper.convertToMap(json, false, XContentType.JSON).v2();
    }

    private static void collect(Object node, Object builder, Set<String> fields) {
        if (node instanceof List<?> list) {
            list.forEach(each -> collect(each, builder, fields));
        } else if (node instanceof Map<?, ?> map) {
            // The kNN retriever serializes the builder without its name.
            if (map.get("query_vector_builder") instanceof Map<?, ?> named
                && (builder.equals(named.get(CrosslensQueryVectorBuilder.NAME)) || builder.equals(named))
                && map.get("field") instanceof String field) {
                fields.add(field);
            }
            map.values().forEach(each -> collect(each, builder, fields));
        }
    }

    /** Return the fingerprints recorded for {@code field} in any of the indices. */
    static Set<String> fingerprints(String field, Collection<IndexMetadata> indices) {
        Set<String> fingerprints = new LinkedHashSet<>();
        for (IndexMetadata index : indices) {
            VectorField found = VectorField.of(field, index);
            if (found != null && found.fingerprint() != null) {
                fingerprints.add(found.fingerprint());
            }
        }
        return fingerprints;
    }
}
