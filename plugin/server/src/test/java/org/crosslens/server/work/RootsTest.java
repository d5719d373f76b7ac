package org.crosslens.server.work;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.crosslens.server.Demo;
import org.crosslens.server.encode.Device;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ModelException;
import org.elasticsearch.common.logging.LogConfigurator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A node's own models and those that the cluster has been given, together. */
class RootsTest {

    private static final Encoder.Use TEXTS = new Encoder.Use(true, true);

    @BeforeAll
    static void logging() {
        LogConfigurator.configureESLogging();
    }

    @TempDir
    Path root;
    private Path own;
    private Path shared;
    private Models models;

    @BeforeEach
    void models() {
        own = root.resolve("own");
        shared = root.resolve("shared");
        models = new Models(List.of(own, shared), new Encoder.Compute(Device.CPU, 1), 1_000, () -> 0, Runnable::run);
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.sorted((a, b) -> b.compareTo(a)).toList()) {
                Files.delete(file);
            }
        }
    }

    @Test
    void bothAreFoundAndOnesOwnComesFirst() throws IOException {
        Demo.copyTo(shared.resolve("given"));
        assertEquals(shared.resolve("given"), models.find("given").path());
        Demo.copyTo(own.resolve("by-hand"));
        Demo.copyTo(own.resolve("given"));
        assertEquals(own.resolve("given"), models.find("given").path());
        assertEquals(List.of("by-hand", "given"), models.list().stream().map(Models.Listed::directory).toList());
    }

    @Test
    void aModelThatWasTakenAwayIsForgottenOnceNobodyUsesIt() throws IOException {
        Demo.copyTo(shared.resolve("given"));
        Models.Lease lease = models.lease("given", TEXTS);
        Encoder encoder = lease.encoder();
        delete(shared.resolve("given"));
        models.forget("given");
        assertNull(models.leaseIfLoaded("given", TEXTS));
        assertThrows(NoModelException.class, () -> models.find("given"));
        assertTrue(encoder.isReadyFor(TEXTS));
        lease.close();
        assertNull(lease.encoder());
        Demo.copyTo(shared.resolve("given"));
        try (Models.Lease again = models.lease("given", TEXTS)) {
            assertNotNull(again.encoder());
        }
    }

    @Test
    void messagesHideWhereEitherLies() throws IOException {
        for (Path each : List.of(own.resolve("a"), shared.resolve("b"))) {
            Demo.copyTo(each);
            Files.delete(each.resolve("onnx/text_model.onnx"));
            String name = each.getFileName().toString();
            String message = assertThrows(ModelException.class, () -> models.find(name)).getMessage();
            assertFalse(message.contains(root.toString()), message);
        }
    }
}
