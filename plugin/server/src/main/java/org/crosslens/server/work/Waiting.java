package org.crosslens.server.work;

import java.util.EnumMap;
import java.util.Map;
import org.crosslens.server.work.Encoding.Lane;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;

/**
 * The part of the circuit breaker's limit that requests take while they wait. Three quarters of it are the most that one lane
 * gets, so that there is room for another. Thread-safe.
 */
final class Waiting {

    private final CircuitBreaker breaker;
    private final long most;
    private final Map<Lane, Long> held = new EnumMap<>(Lane.class);

    Waiting(CircuitBreaker breaker, long most) {
        this.breaker = breaker;
        this.most = most;
    }

    /** Holds {@code bytes}. Throws an exception of status 429 where too much waits. */
    void hold(Lane lane, long bytes) {
        synchronized (held) {
            long here = held.getOrDefault(lane, 0L) + bytes, all = held.values().stream().mapToLong(each -> each).sum() + bytes;
            if (bytes > 0 && (all > most || here > most / 4 * 3)) {
                throw new EsRejectedExecutionException(
                    "a request of " + bytes + " bytes finds no place among those that wait for crosslens, which may hold " + most
                        + " bytes, three quarters of them for " + lane + "; try again later, send less at a time, or raise"
                        + " breaker.crosslens.limit"
                );
            }
            held.put(lane, here);
        }
        try {
            breaker.addEstimateBytesAndMaybeBreak(bytes, "<crosslens_queue>");
        } catch (RuntimeException e) {
            letGo(lane, bytes);
            throw e;
        }
    }

    void release(Lane lane, long bytes) {
        letGo(lane, bytes);
        breaker.addWithoutBreaking(-bytes);
    }

    private void letGo(Lane lane, long bytes) {
        synchronized (held) {
            held.merge(lane, -bytes, Long::sum);
        }
    }
}
