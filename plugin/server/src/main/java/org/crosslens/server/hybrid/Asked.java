package org.crosslens.server.hybrid;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.crosslens.server.words.Probes;
import org.elasticsearch.common.Strings;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.search.builder.PointInTimeBuilder;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.xcontent.ConstructingObjectParser;
import org.elasticsearch.xcontent.ObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.json.JsonXContent;

/**
 * A client's whole hybrid search by evidence: the searches for the windows of its legs, those for what its words could get,
 * and, as far as it can be said before it is known what is shown, the searches for that. The client fuses; what it says of
 * its legs is only for finding out which documents those will be.
 */
final class Asked {

    /** Most legs, and most searches of a kind: more than any client's search has. */
    static final int MOST = 10_000;

    String index = "";
    PointInTimeBuilder pit;
    List<SearchSourceBuilder> windows = List.of();
    List<SearchSourceBuilder> probes = List.of();
    List<Leg> legs = List.of();
    Shown shown;

    /**
     * A leg's {@code name}; the {@code source} that it reads, its {@code weight} (NaN: not given) and its {@code window}, as
     * {@code Evidence.Leg} has them; whether its scores are those of a {@code cosine}; whether few documents must be compared
     * again before they are judged ({@code rough}); of which other legs' vectors its search says whether a document has them;
     * and what was asked of its words (null: nothing).
     */
    record Leg(String name, String source, double weight, boolean cosine, int window, boolean rough, List<Integer> siblings, Words words) {

        double raw(float score) {
            return cosine ? 2.0 * score - 1.0 : score;
        }

        double floor() {
            return cosine ? -1 : 0;
        }
    }

    /** As {@link Probes}; {@code spelling}: whether the client asks again where nobody wrote one of the words. */
    record Words(int[] times, int count, boolean whole, boolean spelling) {

        int searches() {
            return times.length + (whole ? 1 : 0);
        }
    }

    /**
     * Of the ranking {@code size} documents are shown, the best {@code from} left out, and those below {@code minScore}; by
     * the {@code searches}, which name them where {@link Chosen} is, and {@code most} of them at most.
     */
    record Shown(int from, int size, int most, double minScore, List<BytesReference> searches) {}

    private static final ConstructingObjectParser<Words, Void> WORDS = new ConstructingObjectParser<>("words", given -> {
        int[] times = ((List<?>) given[0]).stream().mapToInt(each -> (Integer) each).toArray();
        return new Words(times, (Integer) given[1], (Boolean) given[2], (Boolean) given[3]);
    });
    private static final ConstructingObjectParser<Leg, Void> LEG = new ConstructingObjectParser<>(
        "leg",
        given -> new Leg(
            (String) given[0],
            (String) given[1],
            given[2] == null ? Double.NaN : (Double) given[2],
            (Boolean) given[3],
            (Integer) given[4],
            (Boolean) given[5],
            integers(given[6]),
            (Words) given[7]
        )
    );
    private static final ConstructingObjectParser<Shown, Void> SHOWN = new ConstructingObjectParser<>("shown", given -> {
        @SuppressWarnings("unchecked")
        List<BytesReference> searches = (List<BytesReference>) given[4];
        double least = given[3] == null ? Double.NEGATIVE_INFINITY : (Double) given[3];
        return new Shown((Integer) given[0], (Integer) given[1], (Integer) given[2], least, searches);
    });
    private static final ObjectParser<Asked, Void> PARSER = new ObjectParser<>("crosslens_search", Asked::new);

    static {
        WORDS.declareIntArray(ConstructingObjectParser.constructorArg(), new ParseField("times"));
        WORDS.declareInt(ConstructingObjectParser.constructorArg(), new ParseField("count"));
        WORDS.declareBoolean(ConstructingObjectParser.constructorArg(), new ParseField("whole"));
        WORDS.declareBoolean(ConstructingObjectParser.constructorArg(), new ParseField("spelling"));
        LEG.declareString(ConstructingObjectParser.constructorArg(), new ParseField("name"));
        LEG.declareString(ConstructingObjectParser.constructorArg(), new ParseField("source"));
        LEG.declareDouble(ConstructingObjectParser.optionalConstructorArg(), new ParseField("weight"));
        LEG.declareBoolean(ConstructingObjectParser.constructorArg(), new ParseField("cosine"));
        LEG.declareInt(ConstructingObjectParser.constructorArg(), new ParseField("window"));
        LEG.declareBoolean(ConstructingObjectParser.constructorArg(), new ParseField("rough"));
        LEG.declareIntArray(ConstructingObjectParser.constructorArg(), new ParseField("siblings"));
        LEG.declareObject(ConstructingObjectParser.optionalConstructorArg(), WORDS, new ParseField("words"));
        SHOWN.declareInt(ConstructingObjectParser.constructorArg(), new ParseField("from"));
        SHOWN.declareInt(ConstructingObjectParser.constructorArg(), new ParseField("size"));
        SHOWN.declareInt(ConstructingObjectParser.constructorArg(), new ParseField("most"));
        SHOWN.declareDouble(ConstructingObjectParser.optionalConstructorArg(), new ParseField("min_score"));
        ObjectParser.ValueType objects = ObjectParser.ValueType.OBJECT_ARRAY;
        SHOWN.declareField(ConstructingObjectParser.constructorArg(), (parser, ignored) -> kept(parser), new ParseField("searches"), objects);
        PARSER.declareString((asked, index) -> asked.index = index, new ParseField("index"));
        ObjectParser.ValueType object = ObjectParser.ValueType.OBJECT;
        PARSER.declareField((parser, asked, ignored) -> asked.pit = PointInTimeBuilder.fromXContent(parser), new ParseField("pit"), object);
        PARSER.declareField((parser, asked, ignored) -> asked.windows = searches(parser), new ParseField("windows"), objects);
        PARSER.declareField((parser, asked, ignored) -> asked.probes = searches(parser), new ParseField("probes"), objects);
        PARSER.declareObjectArray((asked, legs) -> asked.legs = legs, LEG, new ParseField("legs"));
        PARSER.declareObject((asked, shown) -> asked.shown = shown, SHOWN, new ParseField("shown"));
    }

    /** Reads a request's body. Throws {@link IllegalArgumentException} for one whose parts don't fit each other. */
    static Asked parse(XContentParser parser) {
        Asked asked = PARSER.apply(parser, null);
        asked.check();
        return asked;
    }

    /** The names of what is to be searched, where no point in time says it. */
    String[] indices() {
        return Strings.splitStringByCommaToArray(index);
    }

    private void check() {
        int words = legs.stream().mapToInt(leg -> leg.words == null ? 0 : leg.words.searches()).sum();
        boolean siblings = legs.stream().allMatch(leg -> leg.siblings.stream().allMatch(other -> other >= 0 && other < legs.size()));
        if (legs.isEmpty() || legs.size() != windows.size() || words != probes.size() || siblings == false) {
            throw new IllegalArgumentException("each of [legs] needs one of [windows], and its words need their [probes]");
        }
        if (shown == null || shown.from < 0 || shown.size < 0 || shown.most < 0 || shown.most > MOST) {
            throw new IllegalArgumentException("[shown] needs [from] and [size] of 0 or more, and [most] of " + MOST + " at most");
        }
        if (pit == null && index.isBlank()) {
            throw new IllegalArgumentException("either [index] or [pit] says what is searched");
        }
    }

    private static List<Integer> integers(Object given) {
        return ((List<?>) given).stream().map(each -> (Integer) each).toList();
    }

    private static List<SearchSourceBuilder> searches(XContentParser parser) throws IOException {
        List<SearchSourceBuilder> searches = new ArrayList<>();
        while (parser.nextToken() != XContentParser.Token.END_ARRAY) {
            searches.add(new SearchSourceBuilder().parseXContent(parser, false, feature -> true));
        }
        return searches;
    }

    /** Bodies that can be read only when it is known what they name. */
    private static List<BytesReference> kept(XContentParser parser) throws IOException {
        List<BytesReference> bodies = new ArrayList<>();
        while (parser.nextToken() != XContentParser.Token.END_ARRAY) {
            try (XContentBuilder body = JsonXContent.contentBuilder()) {
                bodies.add(BytesReference.bytes(body.copyCurrentStructure(parser)));
            }
        }
        return bodies;
    }
}
