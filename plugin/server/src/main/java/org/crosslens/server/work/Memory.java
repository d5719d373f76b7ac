package org.crosslens.server.work;

import java.util.List;
import org.crosslens.server.encode.Budget;
import org.crosslens.server.encode.ImageException;
import org.elasticsearch.ElasticsearchException;

/**
 * The memory that one piece of work takes. It waits for memory only before it holds any; one that turns out to need more
 * than is free gives all back ({@link Crowded}) and begins again with as much as it is known to need.
 */
final class Memory implements Budget, AutoCloseable {

    /** There isn't enough memory just now. One of Elasticsearch's, which decoders let pass; it never leaves the node. */
    static final class Crowded extends ElasticsearchException {

        Crowded() {
            super("crosslens waits for memory");
        }
    }

    private final WorkMemory work;
    private final Lanes lanes;
    private final List<Job> jobs;
    private long needed;
    private long taken;

    /** For {@code jobs} that are done together. */
    Memory(WorkMemory work, Lanes lanes, List<Job> jobs) {
        this.work = work;
        this.lanes = lanes;
        this.jobs = jobs;
    }

    /**
     * Takes {@code bytes}, or as many as an earlier attempt needed. One that is {@code patient} waits for them as long as its
     * answer is wanted; another throws {@link Crowded}.
     */
    void begin(long bytes, boolean patient) {
        need(bytes);
        long all = Math.max(needed, jobs.get(0).needed);
        while (work.take(this, all) == false) {
            try {
                if (patient == false) {
                    throw new Crowded();
                }
                check();
                work.pause();
            } catch (InterruptedException e) {
                work.leave(this);
                Thread.currentThread().interrupt();
                throw Lanes.closing();
            } catch (RuntimeException e) {
                work.leave(this);
                throw e;
            }
        }
        taken = all;
    }

    @Override
    public void reserve(long bytes) {
        need(bytes);
        if (needed <= taken) {
            return;
        }
        if (work.takeMore(needed - taken) == false) {
            jobs.get(0).needed = needed;
            throw new Crowded();
        }
        taken = needed;
    }

    private void need(long bytes) {
        needed += bytes;
        if (needed > work.most()) {
            Input input = jobs.get(0).input;
            String why = " takes up to " + (needed >> 20) + " MB, more than the " + (work.most() >> 20)
                + " MB that the limit of crosslens's circuit breaker leaves for it";
            throw input == null && jobs.get(0).parked == false ? new IllegalArgumentException("reading the request" + why)
                : input == null || input.isText() ? new IllegalArgumentException("reading the text" + why)
                : new ImageException("decoding the image" + why);
        }
    }

    /** Gives back all but {@code bytes}. */
    void keep(long bytes) {
        work.release(taken - bytes);
        taken = needed = bytes;
    }

    @Override
    public void check() {
        if (lanes.isClosed()) {
            throw Lanes.closing();
        }
        RuntimeException why = null;
        for (Job job : jobs) {
            why = job.wanted.ended();
            if (why == null) {
                return;
            }
        }
        throw why;
    }

    @Override
    public void close() {
        work.release(taken);
        taken = needed = 0;
    }
}
