package org.crosslens.server.work;

import java.util.concurrent.locks.LockSupport;
import org.crosslens.server.encode.Budget;
import org.crosslens.server.encode.ImageException;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;

/** The memory that one job has reserved from the circuit breaker and releases at the end. */
final class Memory implements Budget, AutoCloseable {

    /** How long a document waits for memory that others hold. */
    private static final long PATIENCE_NANOS = 60_000_000_000L;
    private static final long PAUSE_NANOS = 20_000_000;

    private final CircuitBreaker breaker;
    private final Job job;
    private final boolean patient;
    private final Lanes lanes;
    private long reserved;

    /** {@code patient}: whether a document may wait for others to release memory, because it holds none itself. */
    Memory(CircuitBreaker breaker, Job job, boolean patient, Lanes lanes) {
        this.breaker = breaker;
        this.job = job;
        this.patient = patient;
        this.lanes = lanes;
    }

    @Override
    public void reserve(long bytes) {
        if (reserved + bytes > breaker.getLimit()) {
            String why = " takes up to " + (reserved + bytes >> 20) + " MB, more than the limit of crosslens's circuit breaker ("
                + (breaker.getLimit() >> 20) + " MB)";
            throw job.input.isText() ? new IllegalArgumentException("reading the text" + why) : new ImageException("decoding the image" + why);
        }
        long until = System.nanoTime() + PATIENCE_NANOS;
        while (true) {
            try {
                breaker.addEstimateBytesAndMaybeBreak(bytes, "<crosslens_work>");
                reserved += bytes;
                return;
            } catch (CircuitBreakingException e) {
                if (job.parked == false || patient == false || lanes.isClosed() || System.nanoTime() - until > 0) {
                    throw e;
                }
                LockSupport.parkNanos(PAUSE_NANOS);
            }
        }
    }

    @Override
    public void check() {
        RuntimeException why = lanes.isClosed() ? Lanes.closing() : job.wanted.ended();
        if (why != null) {
            throw why;
        }
    }

    @Override
    public void close() {
        breaker.addWithoutBreaking(-reserved);
    }
}
