package org.crosslens.server.words;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.index.query.AbstractQueryBuilder;
import org.elasticsearch.index.query.BoolQueryBuilder;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.QueryBuilders;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.XContentType;
import org.elasticsearch.xcontent.json.JsonXContent;

/** Queries between Elasticsearch's objects and their JSON, on which both sides work alike. */
public final class Queries {

    private static final Logger LOG = LogManager.getLogger(Queries.class);

    private Queries() {}

    /** The query's JSON, defaults included; empty for one that has none. */
    public static Map<String, Object> json(QueryBuilder query) {
        try {
            return Words.json(query);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (UnsupportedOperationException e) {
            LOG.debug("[{}] has no JSON", query.getName(), e);
            return Map.of();
        }
    }

    /** The fields that the query's scoring parts name; none where they aren't known. */
    public static Set<String> fields(Map<String, Object> query) {
        return Probes.fields(query);
    }

    /**
     * The probes' queries, the last of them for the best document with every word of {@code query} where the probes ask for
     * it, filters of the query included; null where a word can't be looked for alone.
     */
    public static List<QueryBuilder> of(Probes probes, QueryBuilder query, XContentParserConfiguration configuration) {
        List<QueryBuilder> queries = new ArrayList<>();
        try {
            for (Map<String, Object> search : probes.searches()) {
                queries.add(of(search, configuration));
            }
            if (probes.every().isEmpty() == false) {
                BoolQueryBuilder whole = QueryBuilders.boolQuery().must(query);
                for (Map<String, Object> word : probes.every()) {
                    whole.filter(of(word, configuration));
                }
                queries.add(whole);
            }
        } catch (IOException | IllegalArgumentException e) {
            LOG.debug("a word can't be looked for alone, and what the query could get at most isn't known", e);
            return null;
        }
        return queries;
    }

    /** The query of another spelling, and after it those of its searches. Throws {@link UncheckedIOException}. */
    public static List<QueryBuilder> of(Probes.Respelt respelt, XContentParserConfiguration configuration) {
        List<QueryBuilder> queries = new ArrayList<>();
        try {
            queries.add(of(respelt.query(), configuration));
            for (Map<String, Object> search : respelt.searches()) {
                queries.add(of(search, configuration));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return queries;
    }

    private static QueryBuilder of(Map<String, Object> query, XContentParserConfiguration configuration) throws IOException {
        byte[] written = BytesReference.toBytes(BytesReference.bytes(JsonXContent.contentBuilder().map(query)));
        try (XContentParser parser = XContentType.JSON.xContent().createParser(configuration, written)) {
            return AbstractQueryBuilder.parseTopLevelQuery(parser);
        }
    }
}
