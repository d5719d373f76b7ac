package org.crosslens.server.work;

import java.util.function.BiConsumer;
import java.util.function.LongSupplier;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.tasks.TaskCancelledException;

/**
 * Whether a request still wants its answer. A search no longer does once its task is cancelled (as Elasticsearch does when
 * the client closes the connection) or its own timeout has passed.
 */
public class Wanted {

    /** The key of the current search's instance in the thread context. */
    public static final String KEY = "crosslens.wanted";
    public static final Wanted ALWAYS = by(null);

    private final Wanted outer;
    private final CancellableTask task;
    private final long until;
    private final LongSupplier clock;
    private final BiConsumer<Long, Runnable> timer;

    /**
     * Until {@code task} is cancelled (null: it can't be), the {@code clock} has passed {@code until}, or {@code outer}
     * (null for none) is no longer wanted. The {@code timer} runs something after as many milliseconds.
     */
    public Wanted(Wanted outer, CancellableTask task, long until, LongSupplier clock, BiConsumer<Long, Runnable> timer) {
        this.outer = outer;
        this.task = task;
        this.until = until;
        this.clock = clock;
        this.timer = timer;
    }

    /** Until {@code task} is cancelled; null: always. */
    public static Wanted by(CancellableTask task) {
        return new Wanted(null, task, Long.MAX_VALUE, () -> 0, (millis, what) -> {});
    }

    /** Return why the answer is no longer wanted, or null while it is. */
    public RuntimeException ended() {
        if (task != null && task.isCancelled()) {
            return new TaskCancelledException("task cancelled [" + task.getReasonCancelled() + "]");
        }
        if (until != Long.MAX_VALUE && clock.getAsLong() >= until) {
            // Elasticsearch's own exception for it is a server's fault (500) in version 8, and 429 since.
            return new ElasticsearchStatusException(
                "the search timed out before crosslens had encoded its query",
                RestStatus.TOO_MANY_REQUESTS
            );
        }
        return outer == null ? null : outer.ended();
    }

    /** Return the request's task, or null. */
    public CancellableTask task() {
        return task != null || outer == null ? task : outer.task();
    }

    /** Run {@code what} once the answer is no longer wanted, perhaps more than once. */
    public void onEnd(Runnable what) {
        if (task != null) {
            task.addListener(what::run);
        }
        if (until != Long.MAX_VALUE) {
            timer.accept(Math.max(until - clock.getAsLong(), 0) + 1, what);
        }
        if (outer != null) {
            outer.onEnd(what);
        }
    }
}
