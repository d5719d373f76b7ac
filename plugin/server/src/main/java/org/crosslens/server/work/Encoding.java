package org.crosslens.server.work;

import java.io.Closeable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Executor;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.documents.Passage;
import org.crosslens.server.encode.ModelFolder;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;
import org.elasticsearch.core.Releasable;
import org.elasticsearch.core.Releasables;

/**
 * Encodes what searches, documents and {@code _crosslens/encode} ask for, on a bounded pool of threads.
 *
 * <p>Each of them waits in a lane with a share of the threads, so that none holds another up. What waits together is encoded
 * together: a run of the graph takes as many requests of one model and modality as there are, up to a limit. A request is
 * refused with a 429, before anything of it is done, where its lane is full or too much memory waits; one that was taken
 * waits for the memory that it is worked on with. Documents in a pipeline are never refused: they wait, and
 * Elasticsearch's indexing pressure bounds the bulks that hold them. A request that is no longer wanted leaves the lane,
 * or stops where it is.
 */
public final class Encoding implements Closeable {

    /** Who asks. */
    public enum Lane {
        /** Query vectors of searches. */
        SEARCH,
        /** Documents in a pipeline. */
        INGEST,
        /** {@code _crosslens/encode}. */
        ENCODE
    }

    /** How many inputs one request may have, at most: a request is parsed, and taken, as a whole. */
    public static final int MOST_INPUTS = 1_000;

    private static final Logger LOG = LogManager.getLogger(Encoding.class);
    /** Sizes runs of texts: enough memory for each character that several runs fit the circuit breaker's limit. */
    private static final int BYTES_A_CHARACTER = 1_024;
    private static final int CLOSE_SECONDS = 30;

    private final Models models;
    private final Executor executor;
    private final CircuitBreaker breaker;
    private final Waiting waiting;
    private final Admission admission;
    private final long mostWork;
    private final Lanes lanes;
    private final Outcomes outcomes = new Outcomes();
    private final Runs runs;
    private final QueryVectors queries;

    /** {@code workers} threads a lane at most; {@code capacity} requests wait in each; {@code cacheBytes} of query vectors. */
    public record Limits(int workers, int capacity, long maxPixels, long cacheBytes) {}

    /**
     * Works on at most {@link #threads} threads of {@code executor}: for documents each by itself, for searches each with
     * all threads of its own. Images of more than {@code maxPixels} are refused.
     */
    public Encoding(Models models, Executor executor, CircuitBreaker breaker, Limits limits) {
        this.models = models;
        this.executor = executor;
        this.breaker = breaker;
        long queued = breaker.getLimit() / 3, admitted = breaker.getLimit() / 12;
        this.waiting = new Waiting(breaker, queued);
        this.admission = new Admission(breaker, admitted);
        this.lanes = new Lanes(limits.workers, limits.capacity, breaker.getLimit() / BYTES_A_CHARACTER);
        this.mostWork = breaker.getLimit() - queued - admitted;
        WorkMemory work = new WorkMemory(breaker, mostWork);
        this.runs = new Runs(models, work, lanes, limits.maxPixels, outcomes, this::again);
        this.queries = new QueryVectors(limits.cacheBytes, limits.capacity);
    }

    /** How many threads the executor should have for {@code workers} a lane. */
    public static int threads(int workers) {
        return Lanes.threads(workers);
    }

    /** Submits one input whose answer stays wanted. */
    public void submit(Lane lane, String model, Input input, ActionListener<float[]> listener) {
        submit(lane, lane == Lane.SEARCH, model, List.of(input), Wanted.ALWAYS, List.of(listener));
    }

    /**
     * Encodes {@code inputs} with {@code model} (as {@link Models#find} takes it) and answers each one's listener with its
     * unit vector, on another thread. All of them are taken, or all are refused, and the first that fails ends the others.
     * {@code alone}: by runs that use all threads, which answer soonest and do less in all.
     *
     * <p>Listeners fail with {@link EsRejectedExecutionException} or a circuit breaker's exception (429) when there is too
     * much to do, {@link IllegalArgumentException} (400) for too many inputs, an unknown model or an image that can't be
     * read, and as {@link Wanted#ended} says once the answers are no longer wanted.
     */
    public void submit(Lane lane, boolean alone, String model, List<Input> inputs, Wanted wanted, List<ActionListener<float[]>> listeners) {
        int most = Math.min(MOST_INPUTS, lanes.capacity());
        try {
            if (inputs.size() > most) {
                throw new IllegalArgumentException(
                    "a request may have " + most + " inputs encoded, not " + inputs.size() + "; send several requests"
                );
            }
            waiting.hold(lane, inputs.stream().mapToLong(Input::held).sum());
        } catch (RuntimeException e) {
            refuse(lane, listeners, e);
            return;
        }
        Together together = new Together(wanted);
        for (int i = 0; i < inputs.size(); i++) {
            Input input = inputs.get(i);
            ActionListener<float[]> released = ActionListener.runBefore(listeners.get(i), () -> waiting.release(lane, input.held()));
            together.jobs.add(Job.of(lane, alone, model, input, together, released.delegateResponse((each, e) -> {
                each.onFailure(e);
                together.fail(e);
            })));
        }
        add(lane, together.jobs);
    }

    private void refuse(Lane lane, List<ActionListener<float[]>> listeners, RuntimeException e) {
        outcomes.of(lane).rejected.add(listeners.size());
        listeners.forEach(listener -> listener.onFailure(e));
    }

    /** The jobs of one request: once one has failed, the others aren't wanted. */
    private final class Together extends Wanted {

        private final Wanted request;
        private final List<Job> jobs = new ArrayList<>();
        private volatile RuntimeException failed;

        Together(Wanted request) {
            super(request, null, Long.MAX_VALUE, () -> 0, (millis, what) -> {});
            this.request = request;
        }

        @Override
        public RuntimeException ended() {
            return failed != null ? failed : request.ended();
        }

        void fail(Exception e) {
            if (failed == null && jobs.size() > 1) {
                failed = e instanceof RuntimeException runtime ? runtime : new IllegalStateException(e);
                jobs.forEach(Encoding.this::drop);
            }
        }
    }

    /**
     * Answers with the vector of a search's {@code input} by the model of that {@code fingerprint}: at once where it was made
     * lately, together with the others where it is being made for several. Fails as {@link #submit} does.
     */
    public void query(String fingerprint, Input input, Wanted wanted, ActionListener<float[]> listener) {
        String digest = input.digest();
        if (digest == null) {
            submit(Lane.SEARCH, true, fingerprint, List.of(input), wanted, List.of(listener));
            return;
        }
        QueryVectors.Key key = new QueryVectors.Key(fingerprint, input.isText(), digest);
        float[] known = queries.known(key);
        if (known != null) {
            listener.onResponse(known);
            return;
        }
        try {
            waiting.hold(Lane.SEARCH, input.held());
        } catch (RuntimeException e) {
            refuse(Lane.SEARCH, List.of(listener), e);
            return;
        }
        ActionListener<float[]> released = ActionListener.runBefore(listener, () -> waiting.release(Lane.SEARCH, input.held()));
        try {
            queries.await(key, wanted, released, flight -> {
                add(Lane.SEARCH, List.of(Job.of(Lane.SEARCH, true, fingerprint, input, flight, flight)));
            });
        } catch (EsRejectedExecutionException e) {
            refuse(Lane.SEARCH, List.of(released), e);
        }
    }

    /** Holds the memory of what another node encodes for {@code lane}, until it is released. Throws an exception of status 429. */
    public Releasable hold(Lane lane, long bytes) {
        waiting.hold(lane, bytes);
        return Releasables.releaseOnce(() -> waiting.release(lane, bytes));
    }

    /**
     * Answers once {@code bytes} are free for what a document's many passages hold until all are encoded, with what gives
     * them back. Until then the document waits, holding no more than itself.
     */
    public void admit(long bytes, ActionListener<Releasable> listener) {
        admission.admit(bytes, listener);
    }

    /** Submits a document's inputs, which wait however full the lane is. */
    public void park(String model, List<Input> inputs, List<ActionListener<float[]>> listeners) {
        List<Job> jobs = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            jobs.add(Job.parked(model, inputs.get(i), listeners.get(i)));
        }
        add(Lane.INGEST, jobs);
    }

    /** Runs a document's {@code task} in its turn, for work that must not block the caller's thread. */
    public void park(ActionListener<Void> task) {
        park(0, task);
    }

    /** The same, with {@code bytes} of memory reserved. */
    void park(long bytes, ActionListener<Void> task) {
        add(Lane.INGEST, List.of(Job.task(Lane.INGEST, true, bytes, task)));
    }

    /**
     * Cuts a document's texts into the passages that {@code model} reads whole, and answers with those of each. Fails with
     * {@link org.crosslens.server.documents.TextException} where they are too many for one document.
     */
    public void cut(ModelFolder model, List<String> texts, ActionListener<List<List<Passage>>> listener) {
        new Cutting(models, this, model, texts, mostWork, listener).park();
    }

    /** Runs {@code task} in its turn with {@code bytes} of memory reserved, or fails it; for parsing a request. */
    public void prepare(Lane lane, long bytes, ActionListener<Void> task) {
        add(lane, List.of(Job.task(lane, false, bytes, task)));
    }

    /** Adds jobs to a lane and starts a thread where needed, or refuses them. */
    private void add(Lane lane, List<Job> jobs) {
        boolean start;
        try {
            start = lanes.add(lane, jobs);
        } catch (EsRejectedExecutionException e) {
            outcomes.refuse(lane, jobs, e);
            return;
        }
        if (start) {
            begin(lane);
        }
        jobs.forEach(job -> job.wanted.onEnd(() -> drop(job)));
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
        for (Lanes.Turn turn = lanes.next(lane); turn != null; turn = lanes.next(turn.lane())) {
            runs.run(turn);
        }
    }

    /** Removes a job that is no longer wanted from its lane; a running one stops by itself. */
    private void drop(Job job) {
        RuntimeException why = job.wanted.ended();
        if (why != null && job.isDone() == false) {
            lanes.remove(job);
            outcomes.end(job, why);
        }
    }

    /** Puts jobs back into their lane once their model is loaded. */
    private void again(Lane lane, List<Job> jobs) {
        boolean start = lanes.putBack(lane, jobs);
        if (lanes.isClosed()) {
            failAll(lane, Lanes.closing());
        }
        if (start) {
            begin(lane);
        }
    }

    /** Fails all that waits in a lane. */
    private void failAll(Lane lane, Exception e) {
        lanes.clear(lane).forEach(job -> outcomes.fail(job, e));
    }

    /** Counts, latencies (from asking to answer) and what waits, by lane; and how long runs took. */
    public Map<String, Object> stats() {
        Map<String, Object> all = new LinkedHashMap<>();
        for (Lane lane : Lane.values()) {
            all.put(
                lane.name().toLowerCase(Locale.ROOT),
                outcomes.of(lane).asMap(lanes.waiting(lane), lanes.working(lane), lanes.capacity())
            );
        }
        all.put("runs", runs.took.asMap());
        all.put("query_cache", queries.stats());
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
