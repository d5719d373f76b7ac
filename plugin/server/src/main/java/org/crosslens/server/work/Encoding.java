package org.crosslens.server.work;

import java.io.Closeable;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.LongAdder;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ImageException;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;

/**
 * Encodes what searches and documents ask for, on a bounded pool of threads.
 *
 * <p>Requests wait in two lanes, searches before documents, so that a bulk of pictures doesn't hold a search up. What
 * waits together is encoded together: a run of the graph takes as many requests of one model and modality as there are,
 * up to a limit. A full lane refuses with a 429, as does the circuit breaker, which counts what waits and what is being
 * decoded.
 */
public final class Encoding implements Closeable {

    /** Who asks: searches come first. */
    public enum Lane {
        SEARCH,
        INGEST
    }

    private static final Logger LOG = LogManager.getLogger(Encoding.class);
    private static final int TEXTS_A_RUN = 4 * Encoder.BATCH;
    // Half of what a run takes at best: a search doesn't wait for it, but shares the cores with it.
    private static final int IMAGES_A_RUN = Encoder.BATCH / 2;
    private static final int CLOSE_SECONDS = 30;

    private final Models models;
    private final Executor executor;
    private final CircuitBreaker breaker;
    private final int workers;
    private final int capacity;
    private final long maxPixels;
    private final Map<Lane, Deque<Job>> lanes = new EnumMap<>(Lane.class);
    private final Map<Lane, LaneStats> stats = new EnumMap<>(Lane.class);
    private final Histogram runs = new Histogram();
    private final Map<Lane, Integer> working = new EnumMap<>(Lane.class);
    private boolean closed;

    /**
     * At most {@code workers} threads of {@code executor} work for documents, each by itself, and as many and one more for
     * searches, each with all threads of its own; {@code capacity} requests wait in each lane; images of more than {@code maxPixels} are refused.
     */
    public Encoding(Models models, Executor executor, CircuitBreaker breaker, int workers, int capacity, long maxPixels) {
        this.models = models;
        this.executor = executor;
        this.breaker = breaker;
        this.workers = workers;
        this.capacity = capacity;
        this.maxPixels = maxPixels;
        for (Lane lane : Lane.values()) {
            lanes.put(lane, new ArrayDeque<>());
            stats.put(lane, new LaneStats());
            working.put(lane, 0);
        }
    }

    private record Job(String model, Input input, ActionListener<float[]> listener, long since) {

        boolean goesWith(Job other) {
            return Objects.equals(model, other.model) && input.isText() == other.input.isText();
        }
    }

    private static final class LaneStats {

        final LongAdder texts = new LongAdder();
        final LongAdder images = new LongAdder();
        final LongAdder failed = new LongAdder();
        final LongAdder rejected = new LongAdder();
        final Histogram latency = new Histogram();
    }

    /**
     * Encodes {@code input} with {@code model} (as {@link Models#find} takes it) and answers with its unit vector, on
     * another thread.
     *
     * <p>The listener fails with {@link EsRejectedExecutionException} or a circuit breaker's exception (429) when there
     * is too much to do, {@link IllegalArgumentException} (400) for an unknown model or an image that can't be read.
     */
    public void submit(Lane lane, String model, Input input, ActionListener<float[]> listener) {
        try {
            breaker.addEstimateBytesAndMaybeBreak(input.bytes(), "<crosslens_queue>");
        } catch (RuntimeException e) {
            stats.get(lane).rejected.increment();
            listener.onFailure(e);
            return;
        }
        Job job = new Job(model, input, listener, System.nanoTime());
        boolean start = false;
        String refused = null;
        synchronized (this) {
            if (closed) {
                refused = "this node is closing";
            } else if (lanes.get(lane).size() >= capacity) {
                refused = "the queue of crosslens for " + lane + " holds " + capacity + " requests already; try again later, "
                    + "send less at a time, or raise crosslens.queue_size";
            } else {
                lanes.get(lane).add(job);
                start = starts(lane);
            }
        }
        if (refused != null) {
            breaker.addWithoutBreaking(-input.bytes());
            stats.get(lane).rejected.increment();
            listener.onFailure(new EsRejectedExecutionException(refused, closed));
        } else if (start) {
            try {
                executor.execute(() -> work(lane));
            } catch (RuntimeException e) {
                ended(lane);
                failAll(lane, e);
            }
        }
    }

    /** Whether one more thread should begin to work on a lane; counts it. */
    private boolean starts(Lane lane) {
        int most = lane == Lane.SEARCH ? workers + 1 : workers;
        int now = working.get(lane);
        if (now >= most) {
            return false;
        }
        working.put(lane, now + 1);
        return true;
    }

    private void work(Lane lane) {
        for (List<Job> batch = next(lane); batch != null; batch = next(lane)) {
            run(lane, batch);
        }
    }

    /** The jobs of the next run, or null when there are none, after which the thread is no longer counted. */
    private synchronized List<Job> next(Lane lane) {
        Deque<Job> waiting = lanes.get(lane);
        Job first = waiting.poll();
        if (first == null) {
            ended(lane);
            return null;
        }
        List<Job> batch = new ArrayList<>();
        batch.add(first);
        int most = first.input.isText() ? TEXTS_A_RUN : IMAGES_A_RUN;
        for (Iterator<Job> others = waiting.iterator(); others.hasNext() && batch.size() < most;) {
            Job other = others.next();
            if (other.goesWith(first)) {
                batch.add(other);
                others.remove();
            }
        }
        return batch;
    }

    private void run(Lane lane, List<Job> batch) {
        long start = System.nanoTime();
        List<Job> left = new ArrayList<>(batch);
        try (Models.Lease lease = models.lease(batch.get(0).model)) {
            if (batch.get(0).input.isText()) {
                float[][] vectors = lease.encoder()
                    .encodeTexts(batch.stream().map(job -> job.input.text()).toList(), lane == Lane.SEARCH);
                answer(lane, left, vectors);
            } else {
                images(lane, left, lease.encoder());
            }
            runs.add(System.nanoTime() - start);
        } catch (Exception | LinkageError e) {
            // Nobody may wait for ever, whatever went wrong; a library that can't be loaded is no fault of the node.
            Exception told = e instanceof Exception exception ? exception : new IllegalStateException("a library can't be loaded", e);
            left.forEach(job -> fail(lane, job, told));
        }
    }

    private void images(Lane lane, List<Job> left, Encoder encoder) {
        List<float[]> pixels = new ArrayList<>();
        long tensors = 0;
        try {
            for (Job job : List.copyOf(left)) {
                try {
                    long tensor = 4L * encoder.folder().transform().outputLength();
                    reserve(tensor);
                    tensors += tensor;
                    pixels.add(prepare(job.input.image(), encoder));
                } catch (RuntimeException e) {
                    left.remove(job);
                    fail(lane, job, e);
                }
            }
            if (pixels.isEmpty() == false) {
                answer(lane, left, encoder.encodePixels(pixels, lane == Lane.SEARCH));
            }
        } finally {
            breaker.addWithoutBreaking(-tensors);
        }
    }

    private float[] prepare(byte[] image, Encoder encoder) {
        long[] reserved = { 0 };
        try {
            return encoder.prepare(image, maxPixels, bytes -> {
                reserve(bytes);
                reserved[0] = bytes;
            });
        } finally {
            breaker.addWithoutBreaking(-reserved[0]);
        }
    }

    private void reserve(long bytes) {
        if (bytes > breaker.getLimit()) {
            throw new ImageException(
                "decoding the image takes up to " + (bytes >> 20) + " MB, more than the limit of crosslens's circuit breaker ("
                    + (breaker.getLimit() >> 20) + " MB)"
            );
        }
        breaker.addEstimateBytesAndMaybeBreak(bytes, "<crosslens_image>");
    }

    private void answer(Lane lane, List<Job> left, float[][] vectors) {
        List<Job> answered = List.copyOf(left);
        left.clear();
        for (int i = 0; i < answered.size(); i++) {
            Job job = answered.get(i);
            LaneStats counts = stats.get(lane);
            (job.input.isText() ? counts.texts : counts.images).increment();
            counts.latency.add(System.nanoTime() - job.since);
            breaker.addWithoutBreaking(-job.input.bytes());
            tell(job, vectors[i], null);
        }
    }

    private void fail(Lane lane, Job job, Exception e) {
        stats.get(lane).failed.increment();
        breaker.addWithoutBreaking(-job.input.bytes());
        tell(job, null, e);
    }

    private static void tell(Job job, float[] vector, Exception e) {
        try {
            if (e == null) {
                job.listener.onResponse(vector);
            } else {
                job.listener.onFailure(e);
            }
        } catch (RuntimeException unexpected) {
            // One caller's bug must not leave the others of its run without an answer.
            LOG.error("a listener of crosslens failed", unexpected);
        }
    }

    /** Fails all that waits in a lane. */
    private void failAll(Lane lane, Exception e) {
        List<Job> waiting;
        synchronized (this) {
            waiting = List.copyOf(lanes.get(lane));
            lanes.get(lane).clear();
        }
        waiting.forEach(job -> fail(lane, job, e));
    }

    /** One thread less works on a lane. */
    private synchronized void ended(Lane lane) {
        working.merge(lane, -1, Integer::sum);
        notifyAll();
    }

    /** Counts, latencies (from asking to answer) and what waits, by lane; and how long runs took. */
    public Map<String, Object> stats() {
        Map<String, Object> all = new LinkedHashMap<>();
        stats.forEach((lane, counts) -> {
            Map<String, Object> each = new LinkedHashMap<>();
            each.put("texts", counts.texts.sum());
            each.put("images", counts.images.sum());
            each.put("failed", counts.failed.sum());
            each.put("rejected", counts.rejected.sum());
            synchronized (this) {
                each.put("queue", lanes.get(lane).size());
                each.put("working", working.get(lane));
            }
            each.put("queue_size", capacity);
            each.put("latency", counts.latency.asMap());
            all.put(lane.name().toLowerCase(Locale.ROOT), each);
        });
        all.put("runs", runs.asMap());
        Map<String, Object> memory = new LinkedHashMap<>();
        memory.put("used_bytes", breaker.getUsed());
        memory.put("limit_bytes", breaker.getLimit());
        memory.put("tripped", breaker.getTrippedCount());
        all.put("breaker", memory);
        return all;
    }

    /** Refuses what waits, lets what runs finish, and unloads the models. */
    @Override
    public void close() {
        synchronized (this) {
            closed = true;
        }
        for (Lane lane : Lane.values()) {
            failAll(lane, new EsRejectedExecutionException("this node is closing", true));
        }
        if (waited()) {
            models.close();
        } else {
            // Freeing a graph under a running thread would crash the process; its end frees everything.
            LOG.warn("models are still in use after {} s; they are not unloaded", CLOSE_SECONDS);
        }
    }

    private synchronized boolean waited() {
        long until = System.nanoTime() + CLOSE_SECONDS * 1_000_000_000L;
        while (working.values().stream().anyMatch(n -> n > 0)) {
            long left = (until - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                return false;
            }
            try {
                wait(left);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return false;
            }
        }
        return true;
    }
}
