package org.crosslens.server.work;

import java.util.ArrayDeque;
import java.util.Deque;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;

/**
 * The part of the circuit breaker's limit that work takes while it runs; the other part is for what waits, which can't keep
 * work from its memory. Whoever waits for some holds none, and all wait in one line, so that each gets its turn. Thread-safe.
 */
final class WorkMemory {

    private static final long PAUSE_MILLIS = 20;

    private final CircuitBreaker breaker;
    private final long most;
    private final Deque<Object> line = new ArrayDeque<>();
    private long used;

    /** At most {@code most} bytes, which {@code breaker} counts as well. */
    WorkMemory(CircuitBreaker breaker, long most) {
        this.breaker = breaker;
        this.most = most;
    }

    /** The most bytes that there ever are. */
    long most() {
        return most;
    }

    /** Takes {@code bytes} if it is {@code who}'s turn and they are free, else leaves {@code who} in the line. */
    synchronized boolean take(Object who, long bytes) {
        boolean turn = line.isEmpty() || line.peekFirst() == who;
        if (turn && isFree(bytes)) {
            line.remove(who);
            return true;
        }
        if (line.contains(who) == false) {
            line.add(who);
        }
        return false;
    }

    /** Takes {@code bytes} more if they are free, for one that holds some and therefore may not wait. */
    synchronized boolean takeMore(long bytes) {
        return isFree(bytes);
    }

    private boolean isFree(long bytes) {
        if (used + bytes > most) {
            return false;
        }
        try {
            breaker.addEstimateBytesAndMaybeBreak(bytes, "<crosslens_work>");
        } catch (CircuitBreakingException e) {
            // The node as a whole is short of heap, which passes.
            return false;
        }
        used += bytes;
        return true;
    }

    /** Takes {@code who} out of the line. */
    synchronized void leave(Object who) {
        line.remove(who);
        notifyAll();
    }

    synchronized void release(long bytes) {
        used -= bytes;
        breaker.addWithoutBreaking(-bytes);
        notifyAll();
    }

    /** Waits until some memory was released, or for a moment. */
    synchronized void pause() throws InterruptedException {
        // What other parts of the node release isn't announced.
        wait(PAUSE_MILLIS);
    }
}
