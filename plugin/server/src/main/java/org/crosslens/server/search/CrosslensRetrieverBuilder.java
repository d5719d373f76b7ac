package org.crosslens.server.search;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.util.SetOnce;
import org.crosslens.server.fusion.Fusion;
import org.crosslens.server.fusion.Fusion.Mean;
import org.crosslens.server.fusion.Fusion.Moments;
import org.crosslens.server.fusion.Normalizer;
import org.elasticsearch.index.query.AbstractQueryBuilder;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.QueryRewriteContext;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.retriever.CompoundRetrieverBuilder;
import org.elasticsearch.search.retriever.RankDocsRetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverParserContext;
import org.elasticsearch.xcontent.ObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;

/**
 * Fuses the scores of its children into one ranking, as the Python package's {@code HybridSearcher} does:
 *
 * <pre>
 * "retriever": {"crosslens": {
 *   "retrievers": [{"retriever": {...}, "weight": 2, "name": "keyword"}, {"retriever": {"knn": {...}}, "source": "photo"}],
 *   "normalizer": "evidence", "mean": "arithmetic", "complete": true, "spelling": true, "rank_window_size": 100}}
 * </pre>
 *
 * <p>Children are asked for {@code rank_window_size} documents each, which is how deep {@code evidence}, the default
 * normalizer, looks. By it, children of one {@code source} are opinions of one thing; the thing is known by the fields
 * that they read, unless the request says it. The children's own windows decide the ranking, and {@code complete} only
 * says whether an explanation ({@code explain}) shows the true raw score that each child has of what is shown, also where
 * that child didn't find it: it changes no total, and costs a second round trip then, and nothing otherwise. With
 * {@code spelling}, words of a match that nobody wrote are also looked for with one letter changed.
 *
 * <p>By the other normalizers, with {@code complete}, a document that one child found gets its true score from every
 * other child that is a query or a kNN search before all is fused, whether that one found it or not. A child's
 * {@code moments} ({@code mean} and {@code deviation} of its score over the corpus) serve the normalizer
 * {@code standardise}; those of a kNN child are otherwise looked up where {@code crosslens calibrate} keeps them.
 */
public final class CrosslensRetrieverBuilder extends CompoundRetrieverBuilder<CrosslensRetrieverBuilder> {

    public static final String NAME = "crosslens";
    private static final ParseField RETRIEVERS = new ParseField("retrievers");
    private static final ParseField RETRIEVER = new ParseField("retriever");
    private static final ParseField WEIGHT = new ParseField("weight");
    private static final ParseField SOURCE = new ParseField("source");
    private static final ParseField CHILD_NAME = new ParseField("name");
    private static final ParseField MOMENTS = new ParseField("moments");
    private static final ParseField MEAN_OF = new ParseField("mean");
    private static final ParseField DEVIATION = new ParseField("deviation");
    private static final ParseField NORMALIZER = new ParseField("normalizer");
    private static final ParseField MEAN = new ParseField("mean");
    private static final ParseField COMPLETE = new ParseField("complete");
    private static final ParseField SPELLING = new ParseField("spelling");
    // That of the Python side; Elasticsearch's own retrievers have 10.
    private static final int DEFAULT_WINDOW = 100;

    /** What is said of a child besides its retriever; null where nothing is. */
    record Child(String name, Double weight, String source, Moments moments) {

        /** The weight, or that of a child of which none is said. */
        double weightOr(double otherwise) {
            return weight == null ? otherwise : weight;
        }
    }

    /** What a request says, while it is read. */
    private static final class Draft {

        final List<RetrieverBuilder> retrievers = new ArrayList<>();
        final List<Child> children = new ArrayList<>();
        Normalizer normalizer = Normalizer.DEFAULT;
        Mean mean = Mean.ARITHMETIC;
        boolean complete = true;
        boolean spelling = true;
        int window = DEFAULT_WINDOW;
        List<QueryBuilder> filters = List.of();
        Float minScore;
        String name;
    }

    /** A child's part of a request, while it is read. */
    private static final class ChildDraft {

        RetrieverBuilder retriever;
        String name;
        Double weight;
        String source;
        Moments moments;
    }

    /** The corpus's moments of a child's score, while they are read. */
    private static final class MomentsDraft {

        Double mean;
        Double deviation;
    }

    private static final ObjectParser<MomentsDraft, Void> MOMENTS_PARSER = new ObjectParser<>("moments", MomentsDraft::new);
    private static final ObjectParser<ChildDraft, RetrieverParserContext> CHILD = new ObjectParser<>("child", ChildDraft::new);
    private static final ObjectParser<Draft, RetrieverParserContext> PARSER = new ObjectParser<>(NAME, Draft::new);

    static {
        MOMENTS_PARSER.declareDouble((draft, value) -> draft.mean = value, MEAN_OF);
        MOMENTS_PARSER.declareDouble((draft, value) -> draft.deviation = value, DEVIATION);
        CHILD.declareField((parser, draft, context) -> draft.retriever = readChild(parser, context), RETRIEVER, ObjectParser.ValueType.OBJECT);
        CHILD.declareString((draft, name) -> draft.name = name, CHILD_NAME);
        CHILD.declareDouble((draft, weight) -> draft.weight = weight, WEIGHT);
        CHILD.declareString((draft, source) -> {
            if (source.isBlank()) {
                throw new IllegalArgumentException("[source] must not be empty");
            }
            draft.source = source;
        }, SOURCE);
        CHILD.declareField((parser, draft, context) -> {
            MomentsDraft moments = MOMENTS_PARSER.parse(parser, null);
            if (moments.mean == null || moments.deviation == null) {
                throw new IllegalArgumentException("[moments] needs [mean] and [deviation]");
            }
            draft.moments = new Moments(moments.mean, moments.deviation);
        }, MOMENTS, ObjectParser.ValueType.OBJECT);
        PARSER.declareObjectArray((draft, parts) -> {
            for (ChildDraft part : parts) {
                if (part.retriever == null) {
                    throw new IllegalArgumentException("each of [retrievers] needs a [retriever]");
                }
                draft.retrievers.add(part.retriever);
                draft.children.add(new Child(part.name, part.weight, part.source, part.moments));
            }
        }, CHILD, RETRIEVERS);
        PARSER.declareString((draft, name) -> draft.normalizer = Normalizer.parse(name), NORMALIZER);
        PARSER.declareString((draft, name) -> draft.mean = Mean.parse(name), MEAN);
        PARSER.declareBoolean((draft, complete) -> draft.complete = complete, COMPLETE);
        PARSER.declareBoolean((draft, spelling) -> draft.spelling = spelling, SPELLING);
        PARSER.declareInt((draft, size) -> draft.window = size, RANK_WINDOW_SIZE_FIELD);
        PARSER.declareObjectArray(
            (draft, filters) -> draft.filters = filters,
            (parser, context) -> AbstractQueryBuilder.parseTopLevelQuery(parser, context::trackQueryUsage),
            PRE_FILTER_FIELD
        );
        PARSER.declareFloat((draft, score) -> draft.minScore = score, MIN_SCORE_FIELD);
        PARSER.declareString((draft, name) -> draft.name = name, NAME_FIELD);
    }

    private final List<Child> children;
    private final Normalizer normalizer;
    private final Mean mean;
    private final boolean complete;
    private final boolean spelling;
    private final BooleanSupplier explainable;

    CrosslensRetrieverBuilder(
        List<RetrieverSource> retrievers,
        List<Child> children,
        Normalizer normalizer,
        Mean mean,
        boolean complete,
        boolean spelling,
        int rankWindowSize,
        BooleanSupplier explainable
    ) {
        super(retrievers, rankWindowSize);
        this.children = children;
        this.normalizer = normalizer;
        this.mean = mean;
        this.complete = complete;
        this.spelling = spelling;
        this.explainable = explainable;
    }

    /**
     * Reads the retriever from a request. {@code explainable} says whether all nodes that search understand explained
     * documents; otherwise an explanation is Elasticsearch's own.
     */
    public static CrosslensRetrieverBuilder parse(XContentParser parser, RetrieverParserContext context, BooleanSupplier explainable)
        throws IOException {
        Draft draft = PARSER.parse(parser, context);
        if (draft.retrievers.isEmpty()) {
            throw new IllegalArgumentException("[" + NAME + "] needs [retrievers]");
        }
        if (draft.window < 1) {
            throw new IllegalArgumentException("[" + RANK_WINDOW_SIZE_FIELD.getPreferredName() + "] must be 1 or more");
        }
        Fusion.check(draft.children.stream().mapToDouble(child -> child.weightOr(1)).toArray(), draft.normalizer, draft.mean);
        List<RetrieverSource> sources = new ArrayList<>();
        draft.retrievers.forEach(each -> sources.add(RetrieverSource.from(each)));
        CrosslensRetrieverBuilder builder = new CrosslensRetrieverBuilder(
            sources,
            draft.children,
            draft.normalizer,
            draft.mean,
            draft.complete,
            draft.spelling,
            draft.window,
            explainable
        );
        builder.preFilterQueryBuilders.addAll(draft.filters);
        builder.minScore = draft.minScore;
        builder.retrieverName = draft.name;
        return builder;
    }

    private static RetrieverBuilder readChild(XContentParser parser, RetrieverParserContext context) {
        try {
            return parseInnerRetrieverBuilder(parser, context);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public String getName() {
        return NAME;
    }

    @Override
    protected CrosslensRetrieverBuilder clone(List<RetrieverSource> retrievers, List<QueryBuilder> filters) {
        CrosslensRetrieverBuilder clone = new CrosslensRetrieverBuilder(
            retrievers,
            children,
            normalizer,
            mean,
            complete,
            spelling,
            rankWindowSize,
            explainable
        );
        clone.preFilterQueryBuilders = filters;
        clone.retrieverName = retrieverName;
        clone.minScore = minScore;
        return clone;
    }

    /** Rewrites the children until nothing changes, then searches, completes and fuses. */
    @Override
    protected RetrieverBuilder doRewrite(QueryRewriteContext context) {
        try {
            List<QueryBuilder> filters = rewritePreFilters(context);
            if (filters != preFilterQueryBuilders) {
                return clone(innerRetrievers, filters);
            }
            List<RetrieverSource> rewritten = new ArrayList<>();
            boolean changed = false;
            for (RetrieverSource each : innerRetrievers) {
                if (each.retriever().isCompound() && filters.isEmpty() == false) {
                    // To others the filters are given where their search is made, below.
                    each.retriever().getPreFilterQueryBuilders().addAll(filters);
                }
                RetrieverBuilder retriever = each.retriever().rewrite(context);
                if (retriever != each.retriever()) {
                    rewritten.add(RetrieverSource.from(retriever));
                    changed = true;
                    continue;
                }
                SearchSourceBuilder source = each.source() != null
                    ? each.source()
                    : createSearchSourceBuilder(context.getPointInTimeBuilder(), retriever);
                SearchSourceBuilder settled = source.rewrite(context);
                rewritten.add(new RetrieverSource(retriever, settled));
                changed |= settled != each.source();
            }
            if (changed) {
                return clone(rewritten, filters);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return searched(context);
    }

    private RetrieverBuilder searched(QueryRewriteContext context) {
        List<Leg> legs = new ArrayList<>();
        for (int i = 0; i < innerRetrievers.size(); i++) {
            RetrieverSource each = innerRetrievers.get(i);
            legs.add(Leg.of(i, each.retriever(), each.source(), children.get(i), context.getResolvedIndices()));
        }
        HybridSearch search = new HybridSearch(
            legs,
            normalizer,
            mean,
            complete,
            rankWindowSize,
            context.isExplain() && explainable.getAsBoolean(),
            spelling,
            context.allowPartialSearchResults(),
            context.getResolvedIndices(),
            context.getParserConfig()
        );
        SetOnce<RankDoc[]> results = new SetOnce<>();
        List<RetrieverBuilder> retrievers = new ArrayList<>();
        innerRetrievers.forEach(each -> retrievers.add(each.retriever()));
        context.registerAsyncAction((client, listener) -> search.run(client, listener.delegateFailureAndWrap((next, documents) -> {
            if (search.foundRespelt()) {
                retrievers.add(new RespeltRetrieverBuilder(results::get));
            }
            results.set(documents);
            next.onResponse(null);
        })));
        RankDocsRetrieverBuilder ranked = new RankDocsRetrieverBuilder(rankWindowSize, retrievers, results::get, minScore);
        ranked.retrieverName(retrieverName());
        return ranked;
    }

    @Override
    protected RankDoc[] combineInnerRetrieverResults(List<ScoreDoc[]> results, boolean explain) {
        throw new IllegalStateException("the search is made by the rewriting itself, which needs a second one to complete scores");
    }

    @Override
    protected void doToXContent(XContentBuilder builder, Params params) throws IOException {
        builder.startArray(RETRIEVERS.getPreferredName());
        for (int i = 0; i < innerRetrievers.size(); i++) {
            Child child = children.get(i);
            builder.startObject().field(RETRIEVER.getPreferredName(), innerRetrievers.get(i).retriever());
            if (child.weight != null) {
                builder.field(WEIGHT.getPreferredName(), child.weight);
            }
            if (child.source != null) {
                builder.field(SOURCE.getPreferredName(), child.source);
            }
            if (child.name != null) {
                builder.field(CHILD_NAME.getPreferredName(), child.name);
            }
            if (child.moments != null) {
                builder.startObject(MOMENTS.getPreferredName())
                    .field(MEAN_OF.getPreferredName(), child.moments.mean())
                    .field(DEVIATION.getPreferredName(), child.moments.deviation())
                    .endObject();
            }
            builder.endObject();
        }
        builder.endArray();
        builder.field(NORMALIZER.getPreferredName(), normalizer.toString());
        builder.field(MEAN.getPreferredName(), mean.toString());
        builder.field(COMPLETE.getPreferredName(), complete);
        builder.field(SPELLING.getPreferredName(), spelling);
        builder.field(RANK_WINDOW_SIZE_FIELD.getPreferredName(), rankWindowSize);
    }

    @Override
    public boolean doEquals(Object other) {
        CrosslensRetrieverBuilder that = (CrosslensRetrieverBuilder) other;
        return super.doEquals(other)
            && children.equals(that.children)
            && normalizer == that.normalizer
            && mean == that.mean
            && complete == that.complete
            && spelling == that.spelling;
    }

    @Override
    public int doHashCode() {
        return Objects.hash(super.doHashCode(), children, normalizer, mean, complete, spelling);
    }
}
