package org.crosslens.server.share;

import java.io.IOException;
import java.util.concurrent.Semaphore;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;
import org.elasticsearch.core.CheckedSupplier;

/** Bounds what is done with models at a time: how many requests of clients, and the memory that is taken for pieces of them. */
final class Gate {

    /** So many requests at a time; more are refused before anything of them is done. */
    static final int AT_ONCE = 8;
    /** A piece is held as it arrives, decoded, as a document, and on its way to the shard. */
    private static final long TIMES_HELD = 4;
    private final CircuitBreaker breaker;
    private final Semaphore turns = new Semaphore(AT_ONCE);

    Gate(CircuitBreaker breaker) {
        this.breaker = breaker;
    }

    /** Return what a client's request, with a body of {@code bytes}, comes to. Throws 429 where there is too much to do. */
    <T> T request(long bytes, CheckedSupplier<T, IOException> work) throws IOException {
        if (turns.tryAcquire() == false) {
            throw new EsRejectedExecutionException("this node works on " + AT_ONCE + " requests for models already; try again later");
        }
        try {
            return holding(bytes, work);
        } finally {
            turns.release();
        }
    }

    /** Return what {@code work} with a piece of {@code bytes} comes to, with its memory taken from the circuit breaker. */
    <T> T holding(long bytes, CheckedSupplier<T, IOException> work) throws IOException {
        long all = TIMES_HELD * bytes;
        breaker.addEstimateBytesAndMaybeBreak(all, "<crosslens_models>");
        try {
            return work.get();
        } finally {
            breaker.addWithoutBreaking(-all);
        }
    }
}
