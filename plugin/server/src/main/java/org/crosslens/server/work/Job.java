package org.crosslens.server.work;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.common.breaker.CircuitBreaker;

/** An input to encode with a model or, where {@code task} is set, any other work. */
final class Job {

    private static final Logger LOG = LogManager.getLogger(Job.class);

    final Encoding.Lane lane;
    final String model;
    final Input input;
    final Runnable task;
    final boolean parked;
    final Wanted wanted;
    final ActionListener<float[]> listener;
    final long since = System.nanoTime();
    final AtomicBoolean done = new AtomicBoolean();
    // The circuit breaker counts its memory.
    boolean reserved;

    Job(Encoding.Lane lane, String model, Input input, Runnable task, boolean parked, Wanted wanted, ActionListener<float[]> listener) {
        this.lane = lane;
        this.model = model;
        this.input = input;
        this.task = task;
        this.parked = parked;
        this.wanted = wanted;
        this.listener = listener;
    }

    boolean goesWith(Job other) {
        return task == null
            && other.task == null
            && Objects.equals(model, other.model)
            && input.isText() == other.input.isText();
    }

    long held() {
        return input == null ? 0 : input.held();
    }

    boolean isDone() {
        return done.get();
    }

    /** Answers the listener once and releases the job's memory; returns whether this call did. */
    boolean tell(float[] vector, Exception e, CircuitBreaker breaker) {
        if (done.compareAndSet(false, true) == false) {
            return false;
        }
        if (reserved) {
            breaker.addWithoutBreaking(-held());
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
