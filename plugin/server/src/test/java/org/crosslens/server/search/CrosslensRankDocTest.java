package org.crosslens.server.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.List;
import org.apache.lucene.search.Explanation;
import org.crosslens.server.CrosslensPlugin;
import org.elasticsearch.common.io.stream.BytesStreamOutput;
import org.elasticsearch.common.io.stream.NamedWriteableAwareStreamInput;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.search.rank.RankDoc;
import org.junit.jupiter.api.Test;

class CrosslensRankDocTest {

    private static CrosslensRankDoc document(String... said) {
        RankDoc of = new RankDoc(7, 0.5f, 2);
        of.rank = 3;
        return new CrosslensRankDoc(
            of,
            "noisy-or by evidence",
            new String[] { "words", "pictures" },
            new double[] { 2.5, Double.NaN },
            new double[] { 0.5, 0 },
            new double[] { 0.5, 0 },
            said.length == 0 ? null : said
        );
    }

    @Test
    void documentsTravelWithAndWithoutWords() throws IOException {
        NamedWriteableRegistry registry = new NamedWriteableRegistry(new CrosslensPlugin().getNamedWriteables());
        List<CrosslensRankDoc> documents = List.of(document(), document("the words match", "it has no picture"), document());
        try (BytesStreamOutput out = new BytesStreamOutput()) {
            for (CrosslensRankDoc each : documents) {
                out.writeNamedWriteable(each);
            }
            try (StreamInput in = new NamedWriteableAwareStreamInput(out.bytes().streamInput(), registry)) {
                for (CrosslensRankDoc each : documents) {
                    assertEquals(each, in.readNamedWriteable(RankDoc.class));
                }
                assertEquals(0, in.available());
            }
        }
        assertNotEquals(documents.get(0), documents.get(1));
    }

    @Test
    void anExplanationHasTheWordsBesideTheNumbers() {
        String told = document("the words match", "it has no picture").explain(new Explanation[0], null).toString();
        assertTrue(told.contains("rank 3, noisy-or by evidence of:"), told);
        assertTrue(told.contains("[words] weighted, of normalized 0.500000, of raw 2.500000: the words match"), told);
        assertTrue(told.contains("[pictures] has no score of this document: it has no picture"), told);
    }
}
