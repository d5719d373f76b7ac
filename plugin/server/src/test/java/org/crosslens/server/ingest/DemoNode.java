package org.crosslens.server.ingest;

import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.file.Path;
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

/** What a node with the demo's model lends to processors; all is done on the caller's thread. */
record DemoNode(CrosslensProcessor.Services services) implements AutoCloseable {

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
        return new DemoNode(new CrosslensProcessor.Services(models, encoding, references, new ThreadContext(Settings.EMPTY)));
    }

    /** Runs a processor of that {@code config} over a document's source; returns what the document fails with, or null. */
    Exception run(Map<String, Object> config, Map<String, Object> source) {
        Exception[] failure = new Exception[1];
        IngestDocument document = new IngestDocument("index", "1", 1, null, VersionType.INTERNAL, source);
        CrosslensProcessor.Maker maker = new CrosslensProcessor.Maker(() -> services);
        maker.make("tag", null, config).execute(document, (done, error) -> failure[0] = error);
        return failure[0];
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
