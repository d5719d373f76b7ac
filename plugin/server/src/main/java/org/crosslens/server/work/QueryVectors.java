package org.crosslens.server.work;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.common.cache.Cache;
import org.elasticsearch.common.cache.CacheBuilder;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;

/**
 * Query vectors by model and input: those made lately, and those that are being made, which all who ask for them wait for
 * together. A vector is made as long as any of them wants it. Thread-safe.
 *
 * <p>A changed model has another fingerprint, under which nothing is found.
 */
final class QueryVectors {

    /** What an entry takes besides its vector: hash, fingerprint, and the cache's own objects. */
    private static final long ENTRY_BYTES = 400;

    /** A model's fingerprint, and an input's kind and digest. */
    record Key(String fingerprint, boolean text, String digest) {}

    /** One request that waits for a vector. */
    private static final class Waiter {

        final Wanted wanted;
        final ActionListener<float[]> listener;

        Waiter(Wanted wanted, ActionListener<float[]> listener) {
            this.wanted = wanted;
            this.listener = listener;
        }
    }

    /** A vector that is being made: wanted while anybody waits for it, and answered to all of them. */
    final class Flight extends Wanted implements ActionListener<float[]> {

        private final Key key;
        // Both guarded by the flights' lock. Null once it is over.
        private List<Waiter> waiters = new ArrayList<>();
        private RuntimeException ended;
        private volatile Runnable dropped = () -> {};

        private Flight(Key key) {
            super(null, null, Long.MAX_VALUE, () -> 0, (millis, what) -> {});
            this.key = key;
        }

        @Override
        public RuntimeException ended() {
            synchronized (flights) {
                return ended;
            }
        }

        @Override
        public void onEnd(Runnable what) {
            dropped = what;
            if (ended() != null) {
                what.run();
            }
        }

        private void leave(Waiter waiter) {
            RuntimeException why = waiter.wanted.ended();
            if (why == null) {
                return;
            }
            boolean last;
            synchronized (flights) {
                if (waiters == null || waiters.remove(waiter) == false) {
                    return;
                }
                last = waiters.isEmpty();
                if (last) {
                    ended = why;
                    waiters = null;
                    flights.remove(key, this);
                }
            }
            waiting.decrementAndGet();
            waiter.listener.onFailure(why);
            if (last) {
                dropped.run();
            }
        }

        private List<Waiter> over() {
            synchronized (flights) {
                flights.remove(key, this);
                List<Waiter> left = waiters == null ? List.of() : waiters;
                waiters = null;
                waiting.addAndGet(-left.size());
                return left;
            }
        }

        @Override
        public void onResponse(float[] vector) {
            put(key, vector);
            ActionListener.onResponse(over().stream().map(waiter -> waiter.listener.map((float[] v) -> v.clone())).toList(), vector);
        }

        @Override
        public void onFailure(Exception e) {
            ActionListener.onFailure(over().stream().map(waiter -> waiter.listener).toList(), e);
        }
    }

    // Null where it is turned off.
    private final Cache<Key, float[]> cache;
    private final long mostBytes;
    private final int mostWaiting;
    private final Map<Key, Flight> flights = new HashMap<>();
    private final AtomicInteger waiting = new AtomicInteger();
    private final LongAdder hits = new LongAdder();
    private final LongAdder joined = new LongAdder();
    private final LongAdder misses = new LongAdder();

    /** Keeps vectors of {@code mostBytes} in all (0: none); lets at most {@code mostWaiting} requests wait. */
    QueryVectors(long mostBytes, int mostWaiting) {
        this.mostBytes = mostBytes;
        this.mostWaiting = mostWaiting;
        this.cache = mostBytes == 0
            ? null
            : CacheBuilder.<Key, float[]>builder()
                .setMaximumWeight(mostBytes)
                .weigher((key, vector) -> ENTRY_BYTES + (long) Float.BYTES * vector.length)
                .build();
    }

    /** Return the vector that was made lately, or null. */
    float[] known(Key key) {
        float[] vector = cache == null ? null : cache.get(key);
        if (vector == null) {
            return null;
        }
        hits.increment();
        return vector.clone();
    }

    private void put(Key key, float[] vector) {
        if (cache != null) {
            cache.put(key, vector.clone());
        }
    }

    /**
     * Answers {@code listener} with the vector once it is made, or with why it isn't {@code wanted} any more; where nobody
     * makes it yet, {@code begin} has to, and to answer the flight that it gets.
     *
     * <p>Throws {@link EsRejectedExecutionException} where too many wait.
     */
    void await(Key key, Wanted wanted, ActionListener<float[]> listener, Consumer<Flight> begin) {
        Waiter waiter = new Waiter(wanted, listener);
        Flight flight;
        boolean first;
        synchronized (flights) {
            if (waiting.get() >= mostWaiting) {
                throw new EsRejectedExecutionException(
                    mostWaiting + " searches wait for query vectors of crosslens; try again later, or raise crosslens.queue_size"
                );
            }
            waiting.incrementAndGet();
            flight = flights.get(key);
            first = flight == null;
            if (first) {
                flight = new Flight(key);
                flights.put(key, flight);
            }
            flight.waiters.add(waiter);
        }
        (first ? misses : joined).increment();
        Flight joinedFlight = flight;
        if (first) {
            begin.accept(flight);
        }
        wanted.onEnd(() -> joinedFlight.leave(waiter));
    }

    Map<String, Object> stats() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("hits", hits.sum());
        map.put("joined", joined.sum());
        map.put("misses", misses.sum());
        map.put("entries", cache == null ? 0 : cache.count());
        map.put("bytes", cache == null ? 0L : cache.weight());
        map.put("limit_bytes", mostBytes);
        map.put("evictions", cache == null ? 0L : cache.stats().getEvictions());
        return map;
    }
}
