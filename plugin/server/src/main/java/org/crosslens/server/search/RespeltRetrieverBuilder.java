package org.crosslens.server.search;

import java.util.function.Supplier;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.RankDocsQueryBuilder;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.retriever.RetrieverBuilder;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * Stands beside a request's own retrievers for what was found by words of another spelling: Elasticsearch counts and
 * returns, of a fusion's results, only what one of its retrievers finds. It is never asked for by a request.
 */
final class RespeltRetrieverBuilder extends RetrieverBuilder {

    private final Supplier<RankDoc[]> results;

    RespeltRetrieverBuilder(Supplier<RankDoc[]> results) {
        this.results = results;
    }

    @Override
    public QueryBuilder topDocsQuery() {
        return new RankDocsQueryBuilder(results.get(), null, true);
    }

    @Override
    public void extractToSearchSourceBuilder(SearchSourceBuilder source, boolean compound) {
        throw new IllegalStateException("[" + getName() + "] stands for documents that are found already");
    }

    @Override
    public String getName() {
        return "crosslens_respelt";
    }

    @Override
    protected void doToXContent(XContentBuilder builder, Params params) {}

    @Override
    protected boolean doEquals(Object other) {
        return results == ((RespeltRetrieverBuilder) other).results;
    }

    @Override
    protected int doHashCode() {
        return results.hashCode();
    }
}
