package org.crosslens.server.work;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.crosslens.server.encode.Device;
import org.crosslens.server.encode.Encoder;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.PlainActionFuture;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Query vectors that are shared and kept, and work that waits for memory. */
class QueriesTest {

    @BeforeAll
    static void logging() {
        LogConfigurator.configureESLogging();
    }

    private final Queue<Runnable> tasks = new ArrayDeque<>();
    private final CountingBreaker breaker = new CountingBreaker(1L << 30);
    private final AtomicLong clock = new AtomicLong();
    private Models models;
    private Encoding encoding;

    @BeforeEach
    void encoding() {
        Path folder = Path.of(System.getProperty("crosslens.model")).getParent();
        models = new Models(List.of(folder), new Encoder.Compute(Device.CPU, 1), 60_000, System::currentTimeMillis, Runnable::run);
        encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(1, 10, 1_000_000, 10_000));
    }

    @AfterEach
    void close() {
        encoding.close();
        assertEquals(0, breaker.used.get());
    }

    private String fingerprint() {
        return models.find("model").fingerprint();
    }

    private PlainActionFuture<float[]> ask(String text, Wanted wanted) {
        PlainActionFuture<float[]> answer = new PlainActionFuture<>();
        encoding.query(fingerprint(), Input.of(text), wanted, answer);
        return answer;
    }

    private Wanted until(long millis, Queue<Runnable> timers) {
        return new Wanted(null, null, millis, clock::get, (after, what) -> timers.add(what));
    }

    private Object cached(String what) {
        return ((Map<?, ?>) encoding.stats().get("query_cache")).get(what);
    }

    private void work() {
        for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
            task.run();
        }
    }

    @Test
    void whoAsksForTheSameWaitsForOneEncodingAndLaterOnesFindIt() {
        List<PlainActionFuture<float[]>> answers = List.of(ask("a", Wanted.ALWAYS), ask("a", Wanted.ALWAYS), ask("a", Wanted.ALWAYS));
        work();
        float[] first = answers.get(0).actionGet();
        answers.forEach(answer -> assertArrayEquals(first, answer.actionGet()));
        // What one search does with its vector stays its own.
        first[0] = 7;
        float[] again = ask("a", Wanted.ALWAYS).actionGet();
        assertArrayEquals(answers.get(1).actionGet(), again);
        assertEquals(List.of(1L, 2L, 1L), List.of(cached("hits"), cached("joined"), cached("misses")));
        assertEquals(1L, ((Map<?, ?>) encoding.stats().get("search")).get("texts"));
    }

    @Test
    void itHoldsNoMoreThanItMay() {
        for (int i = 0; i < 30; i++) {
            ask("number " + i, Wanted.ALWAYS);
            work();
        }
        assertTrue((long) cached("bytes") <= 10_000);
        assertTrue((long) cached("evictions") >= 20);
    }

    @Test
    void oneThatLeavesTakesNothingFromTheOthersAndTheLastOneEndsIt() {
        Queue<Runnable> timers = new ArrayDeque<>();
        PlainActionFuture<float[]> hurried = ask("a", until(10, timers)), patient = ask("a", Wanted.ALWAYS);
        clock.set(10);
        timers.forEach(Runnable::run);
        assertInstanceOf(ElasticsearchStatusException.class, assertThrows(Exception.class, hurried::actionGet));
        assertFalse(patient.isDone());
        work();
        assertEquals(192, patient.actionGet().length);
        timers.clear();
        List<PlainActionFuture<float[]>> both = List.of(ask("b", until(20, timers)), ask("b", until(20, timers)));
        clock.set(20);
        timers.forEach(Runnable::run);
        both.forEach(each -> assertInstanceOf(ElasticsearchStatusException.class, assertThrows(Exception.class, each::actionGet)));
        assertEquals(0, ((Map<?, ?>) encoding.stats().get("search")).get("queue"));
        // Who asks next begins anew.
        PlainActionFuture<float[]> next = ask("b", Wanted.ALWAYS);
        work();
        assertEquals(192, next.actionGet().length);
    }

    @Test
    void thoseThatWaitAreCounted() {
        List<PlainActionFuture<float[]>> answers = new ArrayList<>();
        for (int i = 0; i < 11; i++) {
            answers.add(ask("a", Wanted.ALWAYS));
        }
        assertInstanceOf(EsRejectedExecutionException.class, assertThrows(Exception.class, answers.get(10)::actionGet));
        work();
        answers.subList(0, 10).forEach(answer -> assertEquals(192, answer.actionGet().length));
    }

    @Test
    void workWaitsForMemoryThatOthersHold() throws Exception {
        PlainActionFuture<float[]> document = new PlainActionFuture<>();
        encoding.park("model", List.of(Input.of("a red heart")), List.of(document));
        breaker.used.addAndGet(breaker.getLimit());
        Thread worker = new Thread(tasks.poll());
        worker.start();
        assertThrows(Exception.class, () -> document.get(300, TimeUnit.MILLISECONDS));
        assertFalse(document.isDone());
        breaker.used.addAndGet(-breaker.getLimit());
        assertEquals(192, document.get(10, TimeUnit.SECONDS).length);
        worker.join();
    }

    @Test
    void whatWaitsLeavesMemoryToWorkWith() {
        Input large = Input.of("a".repeat(1 << 26));
        List<PlainActionFuture<float[]>> answers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            answers.add(new PlainActionFuture<>());
            encoding.submit(Encoding.Lane.ENCODE, "model", large, answers.get(i));
        }
        assertTrue(breaker.used.get() <= breaker.getLimit() / 3);
        Exception refused = assertThrows(Exception.class, answers.get(3)::actionGet);
        assertTrue(refused.getMessage().contains("breaker.crosslens.limit"), refused.getMessage());
        // Searches have a place still, however much of the others' waits.
        PlainActionFuture<float[]> search = ask("a".repeat(1 << 20), Wanted.ALWAYS);
        assertFalse(search.isDone());
        work();
        assertEquals(192, answers.get(0).actionGet().length);
        assertEquals(192, search.actionGet().length);
    }

    @Test
    void theFirstInputThatFailsEndsItsRequest() {
        List<ActionListener<float[]>> listeners = new ArrayList<>();
        List<Input> inputs = new ArrayList<>();
        List<PlainActionFuture<float[]>> answers = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            answers.add(new PlainActionFuture<>());
            listeners.add(answers.get(i));
            inputs.add(i == 0 ? Input.of(new byte[] { 1 }) : Input.of("a"));
        }
        encoding.submit(Encoding.Lane.ENCODE, true, "model", inputs, Wanted.ALWAYS, listeners);
        work();
        answers.forEach(each -> assertThrows(IllegalArgumentException.class, each::actionGet));
        assertEquals(0L, ((Map<?, ?>) encoding.stats().get("encode")).get("texts"));
    }
}
