package org.crosslens.server.work;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicLong;
import org.crosslens.server.documents.Cutter;
import org.crosslens.server.documents.Passage;
import org.crosslens.server.documents.TextException;
import org.crosslens.server.encode.Device;
import org.crosslens.server.encode.Encoder;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.PlainActionFuture;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;
import org.elasticsearch.core.Releasable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Long texts are cut by turns, with memory that is reserved. */
class CuttingTest {

    @BeforeAll
    static void logging() {
        LogConfigurator.configureESLogging();
    }

    private final Queue<Runnable> tasks = new ArrayDeque<>();
    private final CountingBreaker breaker = new CountingBreaker(1L << 30);
    private Models models;
    private Encoding encoding;

    @BeforeEach
    void node() {
        AtomicLong clock = new AtomicLong();
        Path folder = Path.of(System.getProperty("crosslens.model")).getParent();
        models = new Models(List.of(folder), new Encoder.Compute(Device.CPU, 1), 60_000, clock::get, Runnable::run);
        encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(1, 100, 1_000_000, 1 << 20));
    }

    private PlainActionFuture<List<List<Passage>>> cut(String... texts) {
        PlainActionFuture<List<List<Passage>>> answer = new PlainActionFuture<>();
        encoding.cut(models.find("crosslens-emoji"), List.of(texts), answer);
        return answer;
    }

    private void work() {
        for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
            task.run();
        }
    }

    @Test
    void theTextsOfADocumentAreCutInOrder() {
        PlainActionFuture<List<List<Passage>>> answer = cut(" A red hat. A blue shoe.", "Short.");
        work();
        assertEquals(List.of(List.of(new Passage(1, 24, 1, 24)), List.of(new Passage(0, 6, 0, 6))), answer.actionGet());
        encoding.close();
    }

    @Test
    void littleMemoryMeansSmallerStepsAndTheSamePassages() {
        String text = "red hat blue shoe green lamp old bird. ".repeat(3_000);
        PlainActionFuture<List<List<Passage>>> much = cut(text);
        work();
        encoding.close();
        CountingBreaker little = new CountingBreaker(4 << 20);
        encoding = new Encoding(models, tasks::add, little, new Encoding.Limits(1, 100, 1_000_000, 1 << 20));
        PlainActionFuture<List<List<Passage>>> made = cut(text);
        work();
        assertEquals(much.actionGet(), made.actionGet());
        assertTrue(little.most.get() <= little.getLimit() / 3, little.most + " bytes");
        encoding.close();
    }

    @Test
    void otherDocumentsHaveTheirTurnWhileALongTextIsCut() {
        List<String> events = new ArrayList<>();
        encoding.cut(models.find("crosslens-emoji"), List.of("red hat blue shoe green lamp old bird.\n".repeat(6_000)), ActionListener.wrap(made -> {
            events.add("long");
            assertTrue(made.get(0).size() > 1_000);
        }, e -> events.add(e.toString())));
        encoding.park("crosslens-emoji", List.of(Input.of("a blue shoe")), List.of(ActionListener.wrap(v -> events.add("short"), e -> events.add(e.toString()))));
        work();
        assertEquals(List.of("short", "long"), events);
        assertEquals(0, breaker.used.get());
        assertTrue(breaker.most.get() <= Encoder.counting(Cutter.CHARACTERS + 2L * Cutter.longest(32)), breaker.most + " bytes");
        encoding.close();
    }

    @Test
    void aTextOfTooManyPassagesIsReadNoFurther() {
        PlainActionFuture<List<List<Passage>>> one = cut("a ".repeat(10_000_000)), several = cut(many(3_000), many(2_001));
        work();
        assertInstanceOf(TextException.class, thrown(one));
        assertInstanceOf(TextException.class, thrown(several));
        assertEquals(0, breaker.used.get());
        encoding.close();
    }

    private static String many(int passages) {
        return ("a ".repeat(29) + ".\n").repeat(passages);
    }

    @Test
    void anEndingNodeCutsNoFurther() throws InterruptedException {
        PlainActionFuture<List<List<Passage>>> answer = cut("\u200b\n".repeat(640_000));
        assertFalse(answer.isDone());
        Thread closing = new Thread(encoding::close);
        closing.start();
        assertInstanceOf(EsRejectedExecutionException.class, thrown(answer));
        // It waits for its threads.
        work();
        closing.join();
        assertEquals(0, breaker.used.get());
    }

    @Test
    void documentsOfManyPassagesAreAdmittedAsThereIsRoom() {
        List<Releasable> held = new ArrayList<>();
        long all = breaker.getLimit() / 12;
        for (long bytes : new long[] { all / 2, all, all / 4, 100 * all }) {
            encoding.admit(bytes, ActionListener.wrap(held::add, e -> held.add(null)));
        }
        assertEquals(1, held.size());
        assertEquals(all / 2, breaker.used.get());
        held.get(0).close();
        held.get(0).close();
        // In the order in which they came, though the third would have found room.
        assertEquals(2, held.size());
        held.get(1).close();
        assertEquals(3, held.size());
        held.get(2).close();
        // More than there is at all, by itself.
        assertEquals(4, held.size());
        assertEquals(all, breaker.used.get());
        held.get(3).close();
        assertEquals(0, breaker.used.get());
        encoding.close();
    }

    private static Exception thrown(PlainActionFuture<?> answer) {
        return assertThrows(Exception.class, answer::actionGet);
    }
}
