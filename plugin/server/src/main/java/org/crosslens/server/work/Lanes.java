package org.crosslens.server.work;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.work.Encoding.Lane;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;

/** The waiting jobs by lane, and the number of threads at work on each. Thread-safe. */
final class Lanes {

    private static final int TEXTS_A_RUN = 4 * Encoder.BATCH;
    /** The most characters in one run of texts, unless a single text is longer. */
    private static final int CHARACTERS_A_RUN = 1 << 17;
    // Half of what a run takes at best: a search doesn't wait for it, but shares the cores with it.
    private static final int IMAGES_A_RUN = Encoder.BATCH / 2;
    /** How many waiting jobs are searched for ones to run together; with several models in turn it could be all of them. */
    private static final int LOOKED_AT = 1_000;

    private final int workers;
    private final int capacity;
    private final long charactersARun;
    private final Map<Lane, Deque<Job>> waiting = new EnumMap<>(Lane.class);
    /** How many of those in a lane count against its capacity. */
    private final Map<Lane, Integer> counted = new EnumMap<>(Lane.class);
    private final Map<Lane, Integer> working = new EnumMap<>(Lane.class);
    private boolean closed;

    /** {@code mostCharacters} limits a run of texts further where memory is short. */
    Lanes(int workers, int capacity, long mostCharacters) {
        this.workers = workers;
        this.capacity = capacity;
        this.charactersARun = Math.min(CHARACTERS_A_RUN, mostCharacters);
        for (Lane lane : Lane.values()) {
            waiting.put(lane, new ArrayDeque<>());
            counted.put(lane, 0);
            working.put(lane, 0);
        }
    }

    private static int counting(List<Job> jobs) {
        return (int) jobs.stream().filter(job -> job.parked == false).count();
    }

    /**
     * Adds all of {@code jobs}, and returns whether one more thread should start working on the lane.
     *
     * <p>Throws {@link EsRejectedExecutionException} where the lane is full, or the node is closing.
     */
    synchronized boolean add(Lane lane, List<Job> jobs) {
        int count = counting(jobs);
        if (closed) {
            throw closing();
        }
        if (count > 0 && counted.get(lane) + count > capacity) {
            throw new EsRejectedExecutionException(
                "the queue of crosslens for " + lane + " holds " + counted.get(lane) + " of " + capacity + " requests, and " + count
                    + " more don't fit; try again later, send less at a time, or raise crosslens.queue_size"
            );
        }
        counted.merge(lane, count, Integer::sum);
        waiting.get(lane).addAll(jobs);
        return starts(lane);
    }

    /** Puts jobs back at the front of their lane; returns as {@link #add} does. */
    synchronized boolean putBack(Lane lane, List<Job> jobs) {
        for (int i = jobs.size() - 1; i >= 0; i--) {
            waiting.get(lane).addFirst(jobs.get(i));
        }
        counted.merge(lane, counting(jobs), Integer::sum);
        return starts(lane);
    }

    private boolean starts(Lane lane) {
        int most = lane == Lane.SEARCH ? workers + 1 : workers, now = working.get(lane);
        if (now >= most) {
            return false;
        }
        working.put(lane, now + 1);
        return true;
    }

    /** The jobs of the next run, or null when there are none, after which the thread is no longer counted. */
    synchronized List<Job> next(Lane lane) {
        Job first = waiting.get(lane).poll();
        if (first == null) {
            ended(lane);
            return null;
        }
        List<Job> batch = new ArrayList<>(List.of(first));
        if (first.task == null) {
            addCompany(batch, waiting.get(lane));
        }
        counted.merge(lane, -counting(batch), Integer::sum);
        return batch;
    }

    private void addCompany(List<Job> batch, Deque<Job> lane) {
        Job first = batch.get(0);
        boolean texts = first.input.isText();
        int most = texts ? TEXTS_A_RUN : IMAGES_A_RUN, looked = 0;
        long characters = texts ? first.input.text().length() : 0;
        for (Iterator<Job> others = lane.iterator(); others.hasNext() && batch.size() < most && looked < LOOKED_AT; looked++) {
            Job other = others.next();
            if (other.goesWith(first) == false) {
                continue;
            }
            characters += texts ? other.input.text().length() : 0;
            if (characters > charactersARun) {
                return;
            }
            batch.add(other);
            others.remove();
        }
    }

    /** Removes a job that is still waiting. */
    synchronized void remove(Job job) {
        if (waiting.get(job.lane).remove(job) && job.parked == false) {
            counted.merge(job.lane, -1, Integer::sum);
        }
    }

    /** Removes and returns all waiting jobs. */
    synchronized List<Job> clear(Lane lane) {
        List<Job> all = List.copyOf(waiting.get(lane));
        waiting.get(lane).clear();
        counted.put(lane, 0);
        return all;
    }

    /** One thread less works on a lane. */
    synchronized void ended(Lane lane) {
        working.merge(lane, -1, Integer::sum);
        notifyAll();
    }

    synchronized int waiting(Lane lane) {
        return waiting.get(lane).size();
    }

    synchronized int working(Lane lane) {
        return working.get(lane);
    }

    int capacity() {
        return capacity;
    }

    synchronized void close() {
        closed = true;
    }

    synchronized boolean isClosed() {
        return closed;
    }

    static EsRejectedExecutionException closing() {
        return new EsRejectedExecutionException("this node is closing", true);
    }

    /** Waits up to {@code seconds} for all threads to finish; returns whether they did. */
    synchronized boolean isIdleWithin(int seconds) {
        long until = System.nanoTime() + seconds * 1_000_000_000L;
        while (working.values().stream().anyMatch(n -> n > 0)) {
            long left = (until - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                return false;
            }
            try {
                wait(left);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return false;
            }
        }
        return true;
    }
}
