package org.crosslens.server.work;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.elasticsearch.action.ActionListener;

/** Carries wishes out on other threads, once for all that are equal and asked for meanwhile. */
final class Once<W> {

    private static final Logger LOG = LogManager.getLogger(Once.class);

    private final Executor executor;
    private final Consumer<W> carryOut;
    // Guarded by this.
    private final Map<W, List<ActionListener<Void>>> waiting = new HashMap<>();

    Once(Executor executor, Consumer<W> carryOut) {
        this.executor = executor;
        this.carryOut = carryOut;
    }

    /** Answers once {@code wish} is carried out, by this call or by an earlier one that isn't done yet. */
    void run(W wish, ActionListener<Void> listener) {
        synchronized (this) {
            List<ActionListener<Void>> others = waiting.get(wish);
            if (others != null) {
                others.add(listener);
                return;
            }
            waiting.put(wish, new ArrayList<>(List.of(listener)));
        }
        try {
            executor.execute(() -> answer(wish));
        } catch (RuntimeException e) {
            taken(wish).forEach(each -> each.onFailure(e));
        }
    }

    private void answer(W wish) {
        Exception failure = null;
        try {
            carryOut.accept(wish);
        } catch (Exception | LinkageError e) {
            failure = e instanceof Exception exception ? exception : new IllegalStateException("a library can't be loaded", e);
        }
        for (ActionListener<Void> listener : taken(wish)) {
            try {
                if (failure == null) {
                    listener.onResponse(null);
                } else {
                    listener.onFailure(failure);
                }
            } catch (RuntimeException e) {
                // One caller's bug must not leave the others without an answer.
                LOG.error("a listener of crosslens failed", e);
            }
        }
    }

    private synchronized List<ActionListener<Void>> taken(W wish) {
        return waiting.remove(wish);
    }
}
