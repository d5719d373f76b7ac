package org.crosslens.server.search;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
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
        return SearchMessages.document(new String[] { "words", "pictures" }, new double[] { 2.5, Double.NaN }, said.length == 0 ? null : said);
    }

    /** As it wrote them: without a version and words. */
    @Test
    void documentsOfRelease03AreRead() throws IOException {
        NamedWriteableRegistry registry = new NamedWriteableRegistry(new CrosslensPlugin().getNamedWriteables());
        try (BytesStreamOutput out = new BytesStreamOutput()) {
            CrosslensRankDoc sent = document();
            out.writeString("crosslens_rank_doc");
            out.writeVInt(sent.doc);
            out.writeFloat(sent.score);
            out.writeVInt(sent.shardIndex);
            out.writeVInt(sent.rank);
            out.writeString("noisy-or by evidence");
            out.writeStringArray(new String[] { "words", "pictures" });
            for (int i = 0; i < 3; i++) {
                out.writeDoubleArray(new double[] { 2.5, Double.NaN });
            }
            try (StreamInput in = new NamedWriteableAwareStreamInput(out.bytes().streamInput(), registry)) {
                assertEquals(sent, in.readNamedWriteable(RankDoc.class));
                assertEquals(0, in.available());
            }
        }
    }

    @Test
    void anExplanationHasTheWordsBesideTheNumbers() {
        String told = document("the words match", "it has no picture").explain(new Explanation[0], null).toString();
        assertTrue(told.contains("rank 3, noisy-or by evidence of:"), told);
        assertTrue(told.contains("[words] weighted, of normalized 2.500000, of raw 2.500000: the words match"), told);
        assertTrue(told.contains("[pictures] has no score of this document: it has no picture"), told);
    }
}
