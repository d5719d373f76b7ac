package org.crosslens.server.hybrid;

import java.io.IOException;
import java.util.List;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.common.xcontent.XContentHelper;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.RankDocsQueryBuilder;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.sort.ShardDocSortField;
import org.elasticsearch.xcontent.NamedXContentRegistry;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.XContentType;

/**
 * The query <code>{"crosslens_chosen": {}}</code>, which the documents meet that were chosen to be shown. It is known only
 * where a body of {@link Asked.Shown} is read, so that nobody can ask for documents by their places.
 */
final class Chosen extends NamedXContentRegistry {

    static final String NAME = "crosslens_chosen";

    private final NamedXContentRegistry others;
    private final RankDoc[] documents;

    private Chosen(NamedXContentRegistry others, RankDoc[] documents) {
        super(List.of());
        this.others = others;
        this.documents = documents;
    }

    /** Reads the {@code body} of a search in which the query stands for the documents in these {@code places}. */
    static SearchSourceBuilder read(BytesReference body, List<Long> places, XContentParserConfiguration configuration) throws IOException {
        RankDoc[] documents = documents(places);
        XContentParserConfiguration ours = configuration.withRegistry(new Chosen(configuration.registry(), documents));
        try (XContentParser parser = XContentHelper.createParserNotCompressed(ours, body, XContentType.JSON)) {
            return new SearchSourceBuilder().parseXContent(parser, true, feature -> true);
        }
    }

    /** A query that exactly the documents in these places meet. */
    static QueryBuilder query(List<Long> places) {
        return new RankDocsQueryBuilder(documents(places), null, true);
    }

    private static RankDoc[] documents(List<Long> places) {
        return places.stream()
            .map(place -> new RankDoc(ShardDocSortField.decodeDoc(place), 0, ShardDocSortField.decodeShardRequestIndex(place)))
            .toArray(RankDoc[]::new);
    }

    @Override
    public <T, C> T parseNamedObject(Class<T> category, String name, XContentParser parser, C context) throws IOException {
        if (category != QueryBuilder.class || name.equals(NAME) == false) {
            return others.parseNamedObject(category, name, parser, context);
        }
        parser.skipChildren();
        return category.cast(new RankDocsQueryBuilder(documents, null, true));
    }
}
