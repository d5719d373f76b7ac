package org.crosslens.server.work;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.Encoder;
import org.elasticsearch.action.ActionListener;

/**
 * Runs of an encoder: of jobs with one model and modality, one run of the graph or, where memory is short, several. Every
 * job is answered, whatever goes wrong. One that was taken waits for memory as long as its answer is wanted.
 */
final class Runs {

    private static final Logger LOG = LogManager.getLogger(Runs.class);

    private final Models models;
    private final WorkMemory work;
    private final Lanes lanes;
    private final long maxPixels;
    private final Outcomes outcomes;
    private final BiConsumer<Encoding.Lane, List<Job>> again;
    final Histogram took = new Histogram();

    /** {@code again} puts jobs back into their lane, to be run once their model is loaded. */
    Runs(
        Models models,
        WorkMemory work,
        Lanes lanes,
        long maxPixels,
        Outcomes outcomes,
        BiConsumer<Encoding.Lane, List<Job>> again
    ) {
        this.models = models;
        this.work = work;
        this.lanes = lanes;
        this.maxPixels = maxPixels;
        this.outcomes = outcomes;
        this.again = again;
    }

    /** Does what a lane's turn holds: a task, or inputs to encode together. */
    void run(Lanes.Turn turn) {
        Job first = turn.jobs().get(0);
        if (first.task == null) {
            encode(turn.lane(), turn.jobs());
        } else {
            perform(first);
        }
    }

    private void perform(Job job) {
        try (Memory memory = new Memory(work, lanes, List.of(job))) {
            memory.begin(job.needed, true);
            if (job.done.compareAndSet(false, true)) {
                job.task.run();
            }
        } catch (RuntimeException e) {
            if (outcomes.fail(job, e) == false) {
                LOG.error("a task of crosslens failed", e);
            }
        }
    }

    private void encode(Encoding.Lane lane, List<Job> batch) {
        List<Job> left = wanted(batch);
        if (left.isEmpty()) {
            return;
        }
        Job first = left.get(0);
        Encoder.Use use = new Encoder.Use(first.input.isText(), first.alone);
        try {
            Models.Lease lease = models.leaseIfLoaded(first.model, use);
            if (lease == null) {
                // The second to arrive continues: this thread where loading was synchronous, else the loading thread.
                AtomicInteger order = new AtomicInteger();
                models.load(first.model, use, ActionListener.wrap(loaded -> {
                    if (order.incrementAndGet() == 2) {
                        again.accept(lane, left);
                    }
                }, e -> left.forEach(job -> outcomes.fail(job, e))));
                if (order.incrementAndGet() < 2) {
                    return;
                }
                lease = models.leaseIfLoaded(first.model, use);
                if (lease == null) {
                    throw new IllegalStateException("the model was changed while it was being loaded; try again");
                }
            }
            try (Models.Lease held = lease) {
                long start = System.nanoTime();
                if (use.texts()) {
                    texts(left, held.encoder(), use);
                } else {
                    images(left, held.encoder(), use);
                }
                took.add(System.nanoTime() - start);
            }
        } catch (Exception | LinkageError e) {
            // Nobody may wait for ever, whatever went wrong; a library that can't be loaded is not the node's fault.
            Exception cause = e instanceof Exception exception ? exception : new IllegalStateException("a library can't be loaded", e);
            left.forEach(job -> outcomes.fail(job, cause));
        }
    }

    /** Return the jobs of {@code batch} that are still wanted. */
    private List<Job> wanted(List<Job> batch) {
        List<Job> left = new ArrayList<>();
        for (Job job : batch) {
            RuntimeException why = job.wanted.ended();
            if (why != null) {
                outcomes.end(job, why);
            } else if (job.isDone() == false) {
                left.add(job);
            }
        }
        return left;
    }

    private void texts(List<Job> left, Encoder encoder, Encoder.Use use) {
        List<String> texts = left.stream().map(job -> job.input.text()).toList();
        float[][] vectors;
        try (Memory memory = new Memory(work, lanes, left)) {
            memory.begin(encoder.working(texts), true);
            vectors = encoder.encodeTexts(texts, use.alone());
        }
        // Whoever has an answer no longer holds memory.
        outcomes.answer(left, vectors);
    }

    private void images(List<Job> left, Encoder encoder, Encoder.Use use) {
        Deque<Job> waiting = new ArrayDeque<>(left);
        while (waiting.isEmpty() == false) {
            List<Job> prepared = new ArrayList<>();
            List<float[]> pixels = new ArrayList<>();
            List<Memory> taken = new ArrayList<>();
            float[][] vectors = {};
            try {
                while (waiting.isEmpty() == false) {
                    Job job = waiting.peek();
                    Memory memory = new Memory(work, lanes, List.of(job));
                    try {
                        // Prepared pictures hold memory: run them rather than wait for more.
                        pixels.add(prepare(job, encoder, memory, pixels.isEmpty()));
                        prepared.add(job);
                        taken.add(memory);
                    } catch (Memory.Crowded e) {
                        memory.close();
                        if (pixels.isEmpty()) {
                            // Once more, with as much memory as it is now known to need.
                            continue;
                        }
                        break;
                    } catch (RuntimeException e) {
                        memory.close();
                        outcomes.fail(job, e);
                    }
                    waiting.poll();
                }
                if (pixels.isEmpty() == false) {
                    vectors = encoder.encodePixels(pixels, use.alone());
                }
            } finally {
                taken.forEach(Memory::close);
            }
            outcomes.answer(prepared, vectors);
        }
    }

    private float[] prepare(Job job, Encoder encoder, Memory memory, boolean patient) {
        long tensor = (long) Float.BYTES * encoder.folder().transform().outputLength();
        memory.check();
        memory.begin(tensor + job.input.size(), patient);
        float[] pixels = encoder.prepare(job.input.read(), maxPixels, memory);
        memory.keep(tensor);
        return pixels;
    }
}
