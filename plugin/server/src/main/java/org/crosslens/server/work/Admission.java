package org.crosslens.server.work;

import java.util.ArrayDeque;
import java.util.Deque;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.core.Releasable;
import org.elasticsearch.core.Releasables;

/**
 * The part of the circuit breaker's limit that documents take for what they have many of, until all of it is encoded. A
 * document for which there is no room waits in a line, and is never refused: one that needs more than all of it is admitted
 * by itself. Thread-safe.
 */
final class Admission {

    private record Waiter(long bytes, ActionListener<Releasable> listener) {}

    private final CircuitBreaker breaker;
    private final long most;
    private final Deque<Waiter> line = new ArrayDeque<>();
    private long used;

    Admission(CircuitBreaker breaker, long most) {
        this.breaker = breaker;
        this.most = most;
    }

    /** Answers once {@code bytes} are free, with what gives them back; on the thread of whoever gave them back. */
    void admit(long bytes, ActionListener<Releasable> listener) {
        synchronized (this) {
            line.add(new Waiter(Math.min(bytes, most), listener));
        }
        proceed();
    }

    private void proceed() {
        for (Waiter next = next(); next != null; next = next()) {
            long bytes = next.bytes;
            next.listener.onResponse(Releasables.releaseOnce(() -> release(bytes)));
        }
    }

    private synchronized Waiter next() {
        if (line.isEmpty() || used + line.peek().bytes > most) {
            return null;
        }
        used += line.peek().bytes;
        breaker.addWithoutBreaking(line.peek().bytes);
        return line.poll();
    }

    private void release(long bytes) {
        synchronized (this) {
            used -= bytes;
            breaker.addWithoutBreaking(-bytes);
        }
        proceed();
    }
}
