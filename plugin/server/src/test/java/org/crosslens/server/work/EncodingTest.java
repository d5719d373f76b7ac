package org.crosslens.server.work;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.crosslens.server.Demo;
import org.crosslens.server.encode.Device;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.encode.ModelFolder;
import org.elasticsearch.ElasticsearchException;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.ExceptionsHelper;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.PlainActionFuture;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EncodingTest {

    @BeforeAll
    static void logging() {
        // Elasticsearch's exceptions have loggers, which the server sets up when it starts.
        LogConfigurator.configureESLogging();
    }

    @TempDir
    Path root;
    private final AtomicLong clock = new AtomicLong();
    private static final Encoder.Use TEXTS = new Encoder.Use(true, true);
    private Models models;

    @BeforeEach
    void models() throws IOException {
        Demo.copyTo(root.resolve("emoji"));
        models = new Models(List.of(root), new Encoder.Compute(Device.CPU, 1), 1_000, clock::get, Runnable::run);
    }

    private static Map<?, ?> lane(Encoding encoding, String lane) {
        return (Map<?, ?>) encoding.stats().get(lane);
    }

    @Test
    void whatWaitsIsEncodedTogetherAndNothingStaysReserved() {
        Queue<Runnable> tasks = new ArrayDeque<>();
        CountingBreaker breaker = new CountingBreaker(1L << 30);
        Encoding encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(2, 100, 1_000_000, 1 << 20));
        List<PlainActionFuture<float[]>> answers = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            answers.add(new PlainActionFuture<>());
            encoding.submit(Encoding.Lane.INGEST, null, Input.of("a red heart " + i), answers.get(i));
        }
        // No more threads than allowed are asked for, however much waits.
        assertEquals(2, tasks.size());
        assertTrue(breaker.used.get() > 0);
        tasks.forEach(Runnable::run);
        for (PlainActionFuture<float[]> answer : answers) {
            assertEquals(192, answer.actionGet().length);
        }
        assertEquals(1L, ((Map<?, ?>) encoding.stats().get("runs")).get("count"));
        assertEquals(50L, lane(encoding, "ingest").get("texts"));
        assertEquals(0, breaker.used.get());
        encoding.close();
    }

    @Test
    void aFullLaneRefusesWith429AndTheOtherGoesOn() {
        Queue<Runnable> tasks = new ArrayDeque<>();
        Encoding encoding = new Encoding(models, tasks::add, new CountingBreaker(1L << 30), new Encoding.Limits(1, 3, 1_000_000, 1 << 20));
        PlainActionFuture<float[]> last = new PlainActionFuture<>();
        for (int i = 0; i < 3; i++) {
            encoding.submit(Encoding.Lane.INGEST, null, Input.of("a"), ActionListener.noop());
        }
        encoding.submit(Encoding.Lane.INGEST, null, Input.of("one too many"), last);
        EsRejectedExecutionException refused = assertThrows(EsRejectedExecutionException.class, last::actionGet);
        assertEquals(429, ExceptionsHelper.status(refused).getStatus());
        assertTrue(refused.getMessage().contains("crosslens.queue_size"), refused.getMessage());
        assertEquals(1L, lane(encoding, "ingest").get("rejected"));
        PlainActionFuture<float[]> search = new PlainActionFuture<>();
        encoding.submit(Encoding.Lane.SEARCH, null, Input.of("a"), search);
        // The search has a thread of its own, asked for last.
        ((ArrayDeque<Runnable>) tasks).getLast().run();
        assertEquals(192, search.actionGet().length);
        assertEquals(3, lane(encoding, "ingest").get("queue"));
        ((ArrayDeque<Runnable>) tasks).getFirst().run();
        encoding.close();
    }

    @Test
    void documentsWaitInAFullLaneAndAreAllEncoded() {
        Queue<Runnable> tasks = new ArrayDeque<>();
        CountingBreaker breaker = new CountingBreaker(1L << 30);
        Encoding encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(1, 3, 1_000_000, 1 << 20));
        List<PlainActionFuture<float[]>> answers = new ArrayList<>();
        for (int i = 0; i < 500; i++) {
            answers.add(new PlainActionFuture<>());
            encoding.park(null, List.of(Input.of("a red heart " + i)), List.of(answers.get(i)));
        }
        // What documents wait for takes no place of others.
        PlainActionFuture<float[]> counted = new PlainActionFuture<>();
        encoding.submit(Encoding.Lane.INGEST, null, Input.of("a"), counted);
        tasks.forEach(Runnable::run);
        answers.forEach(answer -> assertEquals(192, answer.actionGet().length));
        assertEquals(192, counted.actionGet().length);
        assertEquals(0L, lane(encoding, "ingest").get("rejected"));
        assertEquals(0, breaker.used.get());
        encoding.close();
    }

    @Test
    void aRequestIsTakenOrRefusedAsAWhole() {
        Queue<Runnable> tasks = new ArrayDeque<>();
        CountingBreaker breaker = new CountingBreaker(1L << 30);
        Encoding encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(1, 3, 1_000_000, 1 << 20));
        List<PlainActionFuture<float[]>> answers = List.of(new PlainActionFuture<>(), new PlainActionFuture<>());
        List<Input> inputs = List.of(Input.of("a"), Input.of("b"));
        encoding.submit(Encoding.Lane.SEARCH, true, null, inputs, Wanted.ALWAYS, List.copyOf(answers));
        List<PlainActionFuture<float[]>> refused = List.of(new PlainActionFuture<>(), new PlainActionFuture<>());
        encoding.submit(Encoding.Lane.SEARCH, true, null, inputs, Wanted.ALWAYS, List.copyOf(refused));
        refused.forEach(answer -> assertInstanceOf(EsRejectedExecutionException.class, thrown(answer)));
        assertEquals(2, lane(encoding, "search").get("queue"));
        tasks.poll().run();
        answers.forEach(answer -> assertEquals(192, answer.actionGet().length));
        assertEquals(0, breaker.used.get());
        encoding.close();
    }

    @Test
    void whatNobodyWaitsForLeavesTheLane() {
        Queue<Runnable> tasks = new ArrayDeque<>(), timers = new ArrayDeque<>();
        CountingBreaker breaker = new CountingBreaker(1L << 30);
        Encoding encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(1, 3, 1_000_000, 1 << 20));
        Wanted hurried = new Wanted(null, null, 100, clock::get, (millis, what) -> timers.add(what));
        PlainActionFuture<float[]> late = new PlainActionFuture<>(), later = new PlainActionFuture<>();
        encoding.submit(Encoding.Lane.SEARCH, true, null, List.of(Input.of("a")), hurried, List.of(late));
        timers.forEach(Runnable::run);
        assertFalse(late.isDone());
        clock.set(100);
        timers.forEach(Runnable::run);
        assertInstanceOf(ElasticsearchStatusException.class, thrown(late));
        assertEquals(0, lane(encoding, "search").get("queue"));
        assertEquals(0, breaker.used.get());
        // Nor is it begun where nobody has looked since.
        encoding.submit(Encoding.Lane.SEARCH, true, null, List.of(Input.of("a")), hurried, List.of(later));
        tasks.poll().run();
        assertInstanceOf(ElasticsearchStatusException.class, thrown(later));
        assertEquals(2L, lane(encoding, "search").get("ended"));
        assertEquals(0L, lane(encoding, "search").get("texts"));
        encoding.close();
    }

    @Test
    void oneBadImageFailsAlone() throws IOException {
        Queue<Runnable> tasks = new ArrayDeque<>();
        CountingBreaker breaker = new CountingBreaker(1L << 30);
        Encoding encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(1, 100, 1_000_000, 1 << 20));
        byte[] good;
        try (Stream<Path> files = Files.list(Path.of(System.getProperty("crosslens.pictures")))) {
            good = Files.readAllBytes(files.filter(file -> file.toString().endsWith(".webp")).findFirst().orElseThrow());
        }
        List<PlainActionFuture<float[]>> answers = List.of(new PlainActionFuture<>(), new PlainActionFuture<>(), new PlainActionFuture<>());
        encoding.submit(Encoding.Lane.INGEST, "emoji", Input.of(good), answers.get(0));
        encoding.submit(Encoding.Lane.INGEST, "emoji", Input.of(new byte[] { 1, 2, 3 }), answers.get(1));
        encoding.submit(Encoding.Lane.INGEST, "emoji", Input.of(good), answers.get(2));
        tasks.forEach(Runnable::run);
        assertEquals(192, answers.get(0).actionGet().length);
        assertThrows(ImageException.class, answers.get(1)::actionGet);
        assertEquals(192, answers.get(2).actionGet().length);
        assertEquals(0, breaker.used.get());
        encoding.close();
    }

    @Test
    void anImageThatNeverFitsIsTheRequestsFaultAndOneThatMayFitLaterIsNot() throws IOException {
        Queue<Runnable> tasks = new ArrayDeque<>();
        CountingBreaker breaker = new CountingBreaker(100_000);
        Encoding encoding = new Encoding(models, tasks::add, breaker, new Encoding.Limits(1, 100, 1_000_000, 1 << 20));
        byte[] good;
        try (Stream<Path> files = Files.list(Path.of(System.getProperty("crosslens.pictures")))) {
            good = Files.readAllBytes(files.filter(file -> file.toString().endsWith(".webp")).findFirst().orElseThrow());
        }
        PlainActionFuture<float[]> answer = new PlainActionFuture<>();
        encoding.submit(Encoding.Lane.INGEST, "emoji", Input.of(good), answer);
        tasks.poll().run();
        ImageException never = assertThrows(ImageException.class, answer::actionGet);
        assertTrue(never.getMessage().contains("circuit breaker"), never.getMessage());
        breaker.used.set(99_990);
        PlainActionFuture<float[]> later = new PlainActionFuture<>();
        encoding.submit(Encoding.Lane.INGEST, "emoji", Input.of("a text that has no place now"), later);
        assertEquals(429, assertInstanceOf(ElasticsearchException.class, thrown(later)).status().getStatus());
        breaker.used.set(0);
        encoding.close();
    }

    private static Exception thrown(PlainActionFuture<float[]> answer) {
        return assertThrows(Exception.class, answer::actionGet);
    }

    @Test
    void aModelIsLoadedWhenUsedAndUnloadedWhenIdle() throws Exception {
        ExecutorService executor = Executors.newFixedThreadPool(3);
        Encoding encoding = new Encoding(models, executor, new CountingBreaker(1L << 30), new Encoding.Limits(2, 100, 1_000_000, 1 << 20));
        assertFalse(models.list().get(0).loaded());
        PlainActionFuture<float[]> answer = new PlainActionFuture<>();
        encoding.submit(Encoding.Lane.SEARCH, "crosslens-emoji", Input.of("a"), answer);
        assertEquals(192, answer.actionGet().length);
        assertTrue(models.list().get(0).loaded());
        while (lane(encoding, "search").get("working").equals(0) == false) {
            // The answer comes a moment before the worker gives the model back.
            Thread.onSpinWait();
        }
        clock.set(999);
        models.unloadIdle();
        assertTrue(models.list().get(0).loaded());
        try (Models.Lease lease = models.lease("emoji", TEXTS)) {
            clock.set(5_000);
            models.unloadIdle();
            assertEquals(1, lease.encoder().encodeTexts(List.of("still there"), true).length);
        }
        clock.set(6_000);
        models.unloadIdle();
        assertFalse(models.list().get(0).loaded());
        encoding.close();
        executor.shutdown();
        assertTrue(executor.awaitTermination(10, TimeUnit.SECONDS));
    }

    @Test
    void aChangedFileIsNoticedAndTheOldModelNoLongerServes() throws IOException {
        models.lease("emoji", TEXTS).close();
        Path tokenizer = root.resolve("emoji/tokenizer.json");
        Files.writeString(tokenizer, Files.readString(tokenizer) + " ");
        clock.addAndGet(1_000);
        ModelException damaged = assertThrows(ModelException.class, () -> models.lease("emoji", TEXTS));
        assertTrue(damaged.getMessage().contains("has been changed since its export"), damaged.getMessage());
        Files.writeString(root.resolve("emoji/config.json"), "no json");
        assertTrue(models.list().get(0).error().contains("can't be read as a JSON object"));
    }

    @Test
    void modelsGoByDirectoryNameAndFingerprint() {
        ModelFolder folder = models.find("emoji");
        assertEquals(folder, models.find("crosslens-emoji"));
        assertEquals(folder, models.find(folder.fingerprint()));
        assertEquals(folder, models.find(null));
        String told = assertThrows(IllegalArgumentException.class, () -> models.find("../emoji")).getMessage();
        assertTrue(told.contains("this node has no model [../emoji]; it has emoji"), told);
    }

    @Test
    void aFolderOfModelsMayLieAmongThem() throws IOException {
        String fingerprint = models.find("emoji").fingerprint();
        Files.createDirectory(root.resolve("mounted"));
        Files.move(root.resolve("emoji"), root.resolve("mounted/emoji"));
        clock.addAndGet(1_000);
        assertEquals(fingerprint, models.find("mounted/emoji").fingerprint());
        assertEquals(fingerprint, models.find("crosslens-emoji").fingerprint());
    }
}
