package org.crosslens.server.search;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.lucene.search.Explanation;
import org.crosslens.server.wire.Wire;
import org.elasticsearch.TransportVersion;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.xcontent.XContentBuilder;

/** A fused document that can explain its score: what each leg gave and added. Made only where that was asked for. */
public final class CrosslensRankDoc extends RankDoc {

    public static final String NAME = "crosslens_explained_doc";
    /** As release 0.3 calls and writes it: without a version, and without words. */
    public static final String UNNUMBERED_NAME = "crosslens_rank_doc";

    private final String how;
    private final String[] legs;
    private final double[] raw;
    private final double[] normalized;
    private final double[] weighted;
    // By leg; null where the normalizer has nothing to say.
    private final String[] said;
    private final boolean unnumbered;

    /**
     * {@code how} names mean and normalizer; by leg, {@code raw} is NaN where it has no score of the document, and
     * {@code said} says in words what it found (null: nothing).
     */
    CrosslensRankDoc(RankDoc of, String how, String[] legs, double[] raw, double[] normalized, double[] weighted, String[] said) {
        this(of, how, legs, raw, normalized, weighted, said, false);
    }

    private CrosslensRankDoc(
        RankDoc of,
        String how,
        String[] legs,
        double[] raw,
        double[] normalized,
        double[] weighted,
        String[] said,
        boolean unnumbered
    ) {
        super(of.doc, of.score, of.shardIndex);
        this.rank = of.rank;
        this.how = how;
        this.legs = legs;
        this.raw = raw;
        this.normalized = normalized;
        this.weighted = weighted;
        this.said = said;
        this.unnumbered = unnumbered;
    }

    private CrosslensRankDoc(RankDoc of, StreamInput in, boolean unnumbered) throws IOException {
        this(
            of,
            in.readString(),
            in.readStringArray(),
            in.readDoubleArray(),
            in.readDoubleArray(),
            in.readDoubleArray(),
            unnumbered ? null : in.readOptionalStringArray(),
            unnumbered
        );
    }

    /** Reads one called {@link #NAME}. */
    public static CrosslensRankDoc read(StreamInput in) throws IOException {
        RankDoc of = new RankDoc(in);
        return Wire.read(in, "explanation of a document", fields -> new CrosslensRankDoc(of, fields.in(), false));
    }

    /** Reads one called {@link #UNNUMBERED_NAME}. */
    public static CrosslensRankDoc readUnnumbered(StreamInput in) throws IOException {
        return new CrosslensRankDoc(new RankDoc(in), in, true);
    }

    @Override
    protected void doWriteTo(StreamOutput out) throws IOException {
        if (unnumbered) {
            writeScores(out);
            return;
        }
        Wire.write(out, 1, fields -> {
            writeScores(fields);
            fields.writeOptionalStringArray(said);
        });
    }

    private void writeScores(StreamOutput out) throws IOException {
        out.writeString(how);
        out.writeStringArray(legs);
        out.writeDoubleArray(raw);
        out.writeDoubleArray(normalized);
        out.writeDoubleArray(weighted);
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
        return unnumbered ? UNNUMBERED_NAME : NAME;
    }

    @Override
    public TransportVersion getMinimalSupportedVersion() {
        return TransportVersion.minimumCompatible();
    }
}
