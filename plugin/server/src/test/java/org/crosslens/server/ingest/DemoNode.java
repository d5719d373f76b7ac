package org.crosslens.server.ingest;

import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.Golden;
import org.crosslens.server.documents.References;
import org.crosslens.server.encode.Device;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Models;
import org.elasticsearch.common.breaker.NoopCircuitBreaker;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.index.VersionType;
import org.elasticsearch.ingest.IngestDocument;
import org.elasticsearch.ingest.Processor;

/** What a node with the demo's model lends to processors; all is done on the caller's thread. {@code stored} are label sets, by id. */
record DemoNode(CrosslensProcessor.Services services, Map<String, Map<String, Object>> stored) implements AutoCloseable {

    static DemoNode start() {
        return start(Path.of(System.getProperty("crosslens.model")).getParent());
    }

    /** The same with other models: those in {@code folder}. */
    static DemoNode start(Path folder) {
        LogConfigurator.configureESLogging();
        Models models = new Models(List.of(folder), new Encoder.Compute(Device.CPU, 1), 60_000, System::currentTimeMillis, Runnable::run);
        NoopCircuitBreaker breaker = new NoopCircuitBreaker("crosslens") {
            @Override
            public long getLimit() {
                return 1 << 30;
            }
        };
        Encoding encoding = new Encoding(models, Runnable::run, breaker, new Encoding.Limits(1, 100, 1_000_000, 1 << 20));
        References references = new References(Golden.folder().resolve("pictures"));
        Map<String, Map<String, Object>> stored = new HashMap<>();
        LabelSets.Reader reader = (id, listener) -> listener.onResponse(stored.get(id));
        LabelSets labels = new LabelSets(reader, Runnable::run, breaker, System::currentTimeMillis);
        ThreadContext context = new ThreadContext(Settings.EMPTY);
        return new DemoNode(new CrosslensProcessor.Services(models, encoding, references, labels, context), stored);
    }

    /** Runs a processor of that {@code config} over a document's source; returns what the document fails with, or null. */
    Exception run(Map<String, Object> config, Map<String, Object> source) {
        return run(new CrosslensProcessor.Maker(() -> services).make("tag", null, config), "index", source);
    }

    private static Exception run(Processor processor, String index, Map<String, Object> source) {
        Exception[] failure = { new IllegalStateException("no answer") };
        IngestDocument document = new IngestDocument(index, index == null ? null : "1", 1, null, VersionType.INTERNAL, source);
        processor.execute(document, (done, error) -> failure[0] = error);
        return failure[0];
    }

    /** Gives a document labels, by a processor of that {@code config}; {@code index} null for the part that an update sends. */
    void label(Map<String, Object> config, String index, Map<String, Object> source) {
        assertNull(run(new LabelsProcessor.Maker(() -> services).make("tag", null, new HashMap<>(config)), index, source));
    }

    /** The same of a document that doesn't fail. */
    void succeed(Map<String, Object> config, Map<String, Object> source) {
        assertNull(run(config, source));
    }

    /** How many texts have been encoded for documents. */
    long encoded() {
        return (long) ((Map<?, ?>) services.encoding().stats().get("ingest")).get("texts");
    }

    @Override
    public void close() {
        services.encoding().close();
        services.models().close();
    }
}
