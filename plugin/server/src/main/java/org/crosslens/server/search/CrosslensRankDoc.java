package org.crosslens.server.search;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.lucene.search.Explanation;
import org.elasticsearch.TransportVersion;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.xcontent.XContentBuilder;

/** A fused document that can explain its score: what each leg gave and added. Made only where that was asked for. */
public final class CrosslensRankDoc extends RankDoc {

    public static final String NAME = "crosslens_rank_doc";
    /** One that says more, and so is written otherwise: a node with an older plugin refuses it instead of misreading it. */
    public static final String TELLING_NAME = "crosslens_telling_rank_doc";

    private final String how;
    private final String[] legs;
    private final double[] raw;
    private final double[] normalized;
    private final double[] weighted;
    // By leg; null where the normalizer has nothing to say.
    private final String[] said;

    /**
     * {@code how} names mean and normalizer; by leg, {@code raw} is NaN where it has no score of the document, and
     * {@code said} says in words what it found (null: nothing).
     */
    CrosslensRankDoc(RankDoc of, String how, String[] legs, double[] raw, double[] normalized, double[] weighted, String[] said) {
        super(of.doc, of.score, of.shardIndex);
        this.rank = of.rank;
        this.how = how;
        this.legs = legs;
        this.raw = raw;
        this.normalized = normalized;
        this.weighted = weighted;
        this.said = said;
    }

    private CrosslensRankDoc(StreamInput in, boolean telling) throws IOException {
        super(in);
        how = in.readString();
        legs = in.readStringArray();
        raw = in.readDoubleArray();
        normalized = in.readDoubleArray();
        weighted = in.readDoubleArray();
        said = telling ? in.readStringArray() : null;
    }

    /** Reads one called {@link #NAME}. */
    public static CrosslensRankDoc read(StreamInput in) throws IOException {
        return new CrosslensRankDoc(in, false);
    }

    /** Reads one called {@link #TELLING_NAME}. */
    public static CrosslensRankDoc readTelling(StreamInput in) throws IOException {
        return new CrosslensRankDoc(in, true);
    }

    @Override
    protected void doWriteTo(StreamOutput out) throws IOException {
        out.writeString(how);
        out.writeStringArray(legs);
        out.writeDoubleArray(raw);
        out.writeDoubleArray(normalized);
        out.writeDoubleArray(weighted);
        if (said != null) {
            out.writeStringArray(said);
        }
    }

    @Override
    public Explanation explain(Explanation[] sources, String[] queryNames) {
        List<Explanation> parts = new ArrayList<>();
        for (int i = 0; i < legs.length; i++) {
            String weighed = Double.isNaN(raw[i])
                ? String.format(Locale.ROOT, "[%s] has no score of this document", legs[i])
                : String.format(Locale.ROOT, "[%s] weighted, of normalized %.6f, of raw %.6f", legs[i], normalized[i], raw[i]);
            String description = said == null ? weighed : weighed + ": " + said[i];
            List<Explanation> source = i < sources.length && sources[i] != null ? List.of(sources[i]) : List.of();
            parts.add(Explanation.match(weighted[i], description, source));
        }
        return Explanation.match(score, "rank " + rank + ", " + how + " of:", parts);
    }

    @Override
    protected void doToXContent(XContentBuilder builder, Params params) throws IOException {
        builder.field("how", how).array("legs", legs).array("raw", raw).array("normalized", normalized).array("weighted", weighted);
        if (said != null) {
            builder.array("said", said);
        }
    }

    @Override
    protected boolean doEquals(RankDoc other) {
        CrosslensRankDoc that = (CrosslensRankDoc) other;
        return how.equals(that.how)
            && Arrays.equals(legs, that.legs)
            && Arrays.equals(raw, that.raw)
            && Arrays.equals(normalized, that.normalized)
            && Arrays.equals(weighted, that.weighted)
            && Arrays.equals(said, that.said);
    }

    @Override
    protected int doHashCode() {
        return Arrays.hashCode(legs) * 31 + Arrays.hashCode(raw);
    }

    @Override
    public String getWriteableName() {
        return said == null ? NAME : TELLING_NAME;
    }

    @Override
    public TransportVersion getMinimalSupportedVersion() {
        return TransportVersion.minimumCompatible();
    }
}
