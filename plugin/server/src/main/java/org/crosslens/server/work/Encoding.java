package org.crosslens.server.work;

import java.io.Closeable;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.Encoder;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;
import org.elasticsearch.core.Releasable;
import org.elasticsearch.core.Releasables;

/**
 * Encodes what searches and documents ask for, on a bounded pool of threads.
 *
 * <p>Requests wait in two lanes, searches before documents, so that a bulk of pictures doesn't hold a search up. What
 * waits together is encoded together: a run of the graph takes as many requests of one model and modality as there are,
 * up to a limit. A full lane refuses with a 429, as does the circuit breaker, which counts what waits and what is being
 * decoded. Documents in a pipeline are never refused for a full lane: they wait, and Elasticsearch's indexing pressure bounds
 * the bulks that hold them. A request that is no longer wanted leaves the lane, or stops where it is.
 */
public final class Encoding implements Closeable {

    /** Who asks: searches come first. */
    public enum Lane {
        SEARCH,
        INGEST
    }

    private static final Logger LOG = LogManager.getLogger(Encoding.class);
    /** Sizes runs of texts: enough memory for each character that several runs fit the circuit breaker's limit. */
    private static final int BYTES_A_CHARACTER = 1_024;
    private static final int CLOSE_SECONDS = 30;

    private final Models models;
    private final Executor executor;
    private final CircuitBreaker breaker;
    private final long maxPixels;
    private final Lanes lanes;
    private final Map<Lane, LaneStats> stats = new EnumMap<>(Lane.class);
    private final Histogram runs = new Histogram();

    /**
     * At most {@code workers} threads of {@code executor} work for documents, each by itself, and as many and one more for
     * searches, each with all threads of its own; {@code capacity} requests wait in each lane; images of more than
     * {@code maxPixels} are refused.
     */
    public Encoding(Models models, Executor executor, CircuitBreaker breaker, int workers, int capacity, long maxPixels) {
        this.models = models;
        this.executor = executor;
        this.breaker = breaker;
        this.maxPixels = maxPixels;
        this.lanes = new Lanes(workers, capacity, breaker.getLimit() / BYTES_A_CHARACTER);
        for (Lane lane : Lane.values()) {
            stats.put(lane, new LaneStats());
        }
    }

    /** Submits one input whose answer stays wanted. */
    public void submit(Lane lane, String model, Input input, ActionListener<float[]> listener) {
        submit(lane, model, List.of(input), Wanted.ALWAYS, List.of(listener));
    }

    /**
     * Encodes {@code inputs} with {@code model} (as {@link Models#find} takes it) and answers each one's listener with its
     * unit vector, on another thread. All of them are taken, or all are refused.
     *
     * <p>Listeners fail with {@link EsRejectedExecutionException} or a circuit breaker's exception (429) when there is too
     * much to do, {@link IllegalArgumentException} (400) for an unknown model or an image that can't be read, and as
     * {@link Wanted#ended} says once the answers are no longer wanted.
     */
    public void submit(Lane lane, String model, List<Input> inputs, Wanted wanted, List<ActionListener<float[]>> listeners) {
        List<Job> jobs = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            jobs.add(new Job(lane, model, inputs.get(i), null, false, wanted, listeners.get(i)));
        }
        long held = jobs.stream().mapToLong(Job::held).sum();
        try {
            breaker.addEstimateBytesAndMaybeBreak(held, "<crosslens_queue>");
        } catch (RuntimeException e) {
            refuse(lane, jobs, e);
            return;
        }
        jobs.forEach(job -> job.reserved = true);
        if (add(lane, jobs)) {
            jobs.forEach(job -> wanted.onEnd(() -> drop(job)));
        }
    }

    /** Submits a document's inputs, which wait however full the lane is. */
    public void park(String model, List<Input> inputs, List<ActionListener<float[]>> listeners) {
        List<Job> jobs = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            jobs.add(new Job(Lane.INGEST, model, inputs.get(i), null, true, Wanted.ALWAYS, listeners.get(i)));
        }
        add(Lane.INGEST, jobs);
    }

    /** Runs a document's {@code task} in its turn, for work that must not block the caller's thread. */
    public void park(ActionListener<Void> task) {
        Job job = new Job(
            Lane.INGEST,
            null,
            null,
            () -> task.onResponse(null),
            true,
            Wanted.ALWAYS,
            ActionListener.wrap(vector -> {}, task::onFailure)
        );
        add(Lane.INGEST, List.of(job));
    }

    /**
     * Runs {@code task} in its turn with {@code bytes} of memory reserved, or fails it; for parsing a request.
     */
    public void prepare(Lane lane, long bytes, ActionListener<Void> task) {
        try {
            breaker.addEstimateBytesAndMaybeBreak(bytes, "<crosslens_request>");
        } catch (RuntimeException e) {
            stats.get(lane).rejected.increment();
            task.onFailure(e);
            return;
        }
        ActionListener<Void> released = ActionListener.runAfter(task, () -> breaker.addWithoutBreaking(-bytes));
        Job job = new Job(
            lane,
            null,
            null,
            () -> released.onResponse(null),
            false,
            Wanted.ALWAYS,
            ActionListener.wrap(vector -> {}, released::onFailure)
        );
        add(lane, List.of(job));
    }

    /** Reserves memory for what another node encodes, until it is released. Throws a circuit breaker's exception (429). */
    public Releasable hold(long bytes) {
        breaker.addEstimateBytesAndMaybeBreak(bytes, "<crosslens_sent>");
        return Releasables.releaseOnce(() -> breaker.addWithoutBreaking(-bytes));
    }

    private void refuse(Lane lane, List<Job> jobs, RuntimeException e) {
        stats.get(lane).rejected.add(jobs.size());
        jobs.forEach(job -> job.tell(null, e, breaker));
    }

    /** Adds jobs to a lane and starts a thread where needed, or refuses them; returns whether they were added. */
    private boolean add(Lane lane, List<Job> jobs) {
        try {
            if (lanes.add(lane, jobs)) {
                begin(lane);
            }
            return true;
        } catch (EsRejectedExecutionException e) {
            refuse(lane, jobs, e);
            return false;
        }
    }

    private void begin(Lane lane) {
        try {
            executor.execute(() -> work(lane));
        } catch (RuntimeException e) {
            lanes.ended(lane);
            failAll(lane, e);
        }
    }

    private void work(Lane lane) {
        for (List<Job> batch = lanes.next(lane); batch != null; batch = lanes.next(lane)) {
            Job first = batch.get(0);
            if (first.task == null) {
                run(lane, batch);
            } else if (first.done.compareAndSet(false, true)) {
                try {
                    first.task.run();
                } catch (RuntimeException e) {
                    LOG.error("a task of crosslens failed", e);
                }
            }
        }
    }

    /** Removes a job that is no longer wanted from its lane; a running one stops by itself. */
    private void drop(Job job) {
        RuntimeException why = job.wanted.ended();
        if (why == null || job.isDone()) {
            return;
        }
        lanes.remove(job);
        end(job, why);
    }

    private void end(Job job, RuntimeException why) {
        if (job.tell(null, why, breaker)) {
            stats.get(job.lane).ended.increment();
        }
    }

    private void run(Lane lane, List<Job> batch) {
        List<Job> left = wanted(batch);
        if (left.isEmpty()) {
            return;
        }
        Job first = left.get(0);
        Encoder.Use use = new Encoder.Use(first.input.isText(), lane == Lane.SEARCH);
        try {
            Models.Lease lease = models.leaseIfLoaded(first.model, use);
            if (lease == null) {
                // The second to arrive continues: this thread where loading was synchronous, else the loading thread.
                AtomicInteger order = new AtomicInteger();
                models.load(first.model, use, ActionListener.wrap(loaded -> {
                    if (order.incrementAndGet() == 2) {
                        again(lane, left);
                    }
                }, e -> List.copyOf(left).forEach(job -> fail(job, e))));
                if (order.incrementAndGet() < 2) {
                    return;
                }
                lease = models.leaseIfLoaded(first.model, use);
                if (lease == null) {
                    throw new IllegalStateException("the model was changed while it was being loaded; try again");
                }
            }
            try (Models.Lease held = lease) {
                run(left, held.encoder(), use);
            }
        } catch (Exception | LinkageError e) {
            // Nobody may wait for ever, whatever went wrong; a library that can't be loaded is not the node's fault.
            Exception cause = e instanceof Exception exception ? exception : new IllegalStateException("a library can't be loaded", e);
            List.copyOf(left).forEach(job -> fail(job, cause));
        }
    }

    /** Return the jobs of {@code batch} that are still wanted. */
    private List<Job> wanted(List<Job> batch) {
        List<Job> left = new ArrayList<>();
        for (Job job : batch) {
            RuntimeException why = job.wanted.ended();
            if (why != null) {
                end(job, why);
            } else if (job.isDone() == false) {
                left.add(job);
            }
        }
        return left;
    }

    /** Puts jobs back at the front of their lane once their model is loaded. */
    private void again(Lane lane, List<Job> jobs) {
        boolean start = lanes.putBack(lane, jobs);
        if (lanes.isClosed()) {
            failAll(lane, Lanes.closing());
        }
        if (start) {
            begin(lane);
        }
    }

    private void run(List<Job> left, Encoder encoder, Encoder.Use use) {
        long start = System.nanoTime();
        if (use.texts()) {
            texts(left, encoder, use);
        } else {
            images(left, encoder, use);
        }
        runs.add(System.nanoTime() - start);
    }

    private void texts(List<Job> left, Encoder encoder, Encoder.Use use) {
        List<String> texts = left.stream().map(job -> job.input.text()).toList();
        try (Memory memory = new Memory(breaker, left.get(0), true, lanes)) {
            memory.reserve(encoder.working(texts));
            answer(left, encoder.encodeTexts(texts, use.alone()));
        }
    }

    private void images(List<Job> left, Encoder encoder, Encoder.Use use) {
        Deque<Job> waiting = new ArrayDeque<>(left);
        while (waiting.isEmpty() == false) {
            List<Job> prepared = new ArrayList<>();
            List<float[]> pixels = new ArrayList<>();
            List<Memory> tensors = new ArrayList<>();
            try {
                for (Job job = waiting.peek(); job != null; job = waiting.peek()) {
                    // Prepared pictures hold memory: run them rather than wait for more.
                    boolean patient = pixels.isEmpty();
                    Memory tensor = new Memory(breaker, job, patient, lanes);
                    tensors.add(tensor);
                    try {
                        tensor.reserve((long) Float.BYTES * encoder.folder().transform().outputLength());
                        pixels.add(prepare(job, encoder, patient));
                        prepared.add(job);
                    } catch (CircuitBreakingException e) {
                        if (job.parked && patient == false) {
                            break;
                        }
                        fail(job, e);
                    } catch (RuntimeException e) {
                        fail(job, e);
                    }
                    waiting.poll();
                }
                if (pixels.isEmpty() == false) {
                    answer(prepared, encoder.encodePixels(pixels, use.alone()));
                }
            } finally {
                tensors.forEach(Memory::close);
            }
        }
    }

    private float[] prepare(Job job, Encoder encoder, boolean patient) {
        try (Memory memory = new Memory(breaker, job, patient, lanes)) {
            memory.reserve(job.input.size());
            return encoder.prepare(job.input.read(), maxPixels, memory);
        }
    }

    private void answer(List<Job> answered, float[][] vectors) {
        for (int i = 0; i < answered.size(); i++) {
            Job job = answered.get(i);
            LaneStats counts = stats.get(job.lane);
            (job.input.isText() ? counts.texts : counts.images).increment();
            counts.latency.add(System.nanoTime() - job.since);
            job.tell(vectors[i], null, breaker);
        }
    }

    private void fail(Job job, Exception e) {
        if (job.tell(null, e, breaker)) {
            stats.get(job.lane).failed.increment();
        }
    }

    /** Fails all that waits in a lane. */
    private void failAll(Lane lane, Exception e) {
        lanes.clear(lane).forEach(job -> fail(job, e));
    }

    /** Counts, latencies (from asking to answer) and what waits, by lane; and how long runs took. */
    public Map<String, Object> stats() {
        Map<String, Object> all = new LinkedHashMap<>();
        stats.forEach(
            (lane, counts) -> all.put(
                lane.name().toLowerCase(Locale.ROOT),
                counts.asMap(lanes.waiting(lane), lanes.working(lane), lanes.capacity())
            )
        );
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
        lanes.close();
        for (Lane lane : Lane.values()) {
            failAll(lane, Lanes.closing());
        }
        if (lanes.isIdleWithin(CLOSE_SECONDS)) {
            models.close();
        } else {
            // Freeing a graph under a running thread would crash the process; its end frees everything.
            LOG.warn("models are still in use after {} s; they are not unloaded", CLOSE_SECONDS);
        }
    }
}
