package org.crosslens.server.search;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Random;
import org.crosslens.server.CrosslensPlugin;
import org.crosslens.server.wire.Message;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.plugins.SearchPlugin;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.json.JsonXContent;

/** What searches send between nodes. */
public final class SearchMessages {

    private SearchMessages() {}

    public static List<Message<?>> all() {
        return List.of(
            new Message<>(
                CrosslensRankDoc.class,
                document(new String[] { "words", "pictures" }, new double[] { 2.5, Double.NaN }, new String[] { "they match", "it has no picture" }),
                SearchMessages::document,
                CrosslensRankDoc::read,
                each -> each
            ),
            new Message<>(
                CrosslensQueryVectorBuilder.class,
                builder("{\"model\": \"clip\", \"text\": \"a red heart\"}"),
                SearchMessages::builder,
                SearchMessages::readBuilder,
                each -> each
            )
        );
    }

    static CrosslensRankDoc document(String[] legs, double[] numbers, String[] said) {
        RankDoc of = new RankDoc(7, 0.5f, 2);
        of.rank = 3;
        return new CrosslensRankDoc(of, "noisy-or by evidence", legs, numbers, numbers, numbers, said);
    }

    private static CrosslensRankDoc document(Random random) {
        int legs = random.nextInt(5);
        double[][] numbers = new double[3][];
        for (int i = 0; i < 3; i++) {
            numbers[i] = random.doubles(legs).map(each -> each < 0.1 ? Double.NaN : each).toArray();
        }
        RankDoc of = new RankDoc(random.nextInt(1 << 20), random.nextFloat(), random.nextInt(100));
        of.rank = 1 + random.nextInt(1_000);
        String[] said = random.nextBoolean() ? null : Message.texts(random, legs);
        return new CrosslensRankDoc(of, Message.text(random), Message.texts(random, legs), numbers[0], numbers[1], numbers[2], said);
    }

    private static CrosslensQueryVectorBuilder builder(Random random) {
        String from = random.nextBoolean() ? "\"model\": \"m" : "\"field\": \"f", what = random.nextBoolean() ? "text" : "image";
        return builder("{" + from + random.nextInt() + "\", \"" + what + "\": \"é " + random.nextLong() + "\"}");
    }

    private static CrosslensQueryVectorBuilder builder(String json) {
        try (XContentParser parser = JsonXContent.jsonXContent.createParser(XContentParserConfiguration.EMPTY, json)) {
            return CrosslensQueryVectorBuilder.parse(parser, () -> null);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** As the plugin registers it. */
    private static CrosslensQueryVectorBuilder readBuilder(StreamInput in) throws IOException {
        SearchPlugin.QueryVectorBuilderSpec<?> spec = new CrosslensPlugin().getQueryVectorBuilders().get(0);
        return (CrosslensQueryVectorBuilder) spec.getReader().read(in);
    }
}
