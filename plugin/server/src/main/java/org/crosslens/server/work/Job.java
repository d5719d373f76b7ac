package org.crosslens.server.work;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.elasticsearch.action.ActionListener;

/** An input to encode with a model or, where {@code task} is set, any other work. */
final class Job {

    private static final Logger LOG = LogManager.getLogger(Job.class);

    final Encoding.Lane lane;
    final String model;
    final Input input;
    final Runnable task;
    final boolean parked;
    final boolean alone;
    final Wanted wanted;
    final ActionListener<float[]> listener;
    final long since = System.nanoTime();
    final AtomicBoolean done = new AtomicBoolean();
    // Set by the lane: its place in the line, and what orders those of one place; before that, equal to no other's.
    long place;
    long number = -1;
    // The memory that an attempt was found to need, in bytes; of a task, what it takes.
    volatile long needed;

    private Job(
        Encoding.Lane lane,
        String model,
        Input input,
        Runnable task,
        boolean parked,
        boolean alone,
        Wanted wanted,
        ActionListener<float[]> listener
    ) {
        this.lane = lane;
        this.model = model;
        this.input = input;
        this.task = task;
        this.parked = parked;
        this.alone = alone;
        this.wanted = wanted;
        this.listener = listener;
    }

    /** One of a request's inputs; {@code alone}: by runs that use all threads, which answer soonest. */
    static Job of(Encoding.Lane lane, boolean alone, String model, Input input, Wanted wanted, ActionListener<float[]> listener) {
        return new Job(lane, model, input, null, false, alone, wanted, listener);
    }

    /** One of a document's inputs. */
    static Job parked(String model, Input input, ActionListener<float[]> listener) {
        return new Job(Encoding.Lane.INGEST, model, input, null, true, false, Wanted.ALWAYS, listener);
    }

    /** Other work, which takes {@code bytes} of memory. */
    static Job task(Encoding.Lane lane, boolean parked, long bytes, ActionListener<Void> task) {
        Runnable run = () -> task.onResponse(null);
        Job job = new Job(lane, null, null, run, parked, false, Wanted.ALWAYS, ActionListener.wrap(vector -> {}, task::onFailure));
        job.needed = bytes;
        return job;
    }

    boolean goesWith(Job other) {
        return task == null
            && other.task == null
            && alone == other.alone
            && Objects.equals(model, other.model)
            && input.isText() == other.input.isText();
    }

    boolean isDone() {
        return done.get();
    }

    /** Answers the listener once; returns whether this call did. */
    boolean tell(float[] vector, Exception e) {
        if (done.compareAndSet(false, true) == false) {
            return false;
        }
        try {
            if (e == null) {
                listener.onResponse(vector);
            } else {
                listener.onFailure(e);
            }
        } catch (RuntimeException unexpected) {
            // One caller's bug must not leave the others of its run without an answer.
            LOG.error("a listener of crosslens failed", unexpected);
        }
        return true;
    }
}
