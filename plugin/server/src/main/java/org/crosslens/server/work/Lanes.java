package org.crosslens.server.work;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.work.Encoding.Lane;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;

/**
 * The waiting jobs by lane, and the number of threads at work on each. Thread-safe.
 *
 * <p>Every lane always has a thread of its own to begin with. Where several lanes have work, a thread whose lane has more
 * than its equal share goes over to one that has less, at the end of a run. Within a lane requests take turns by the run:
 * the jobs of a large one don't all precede those of a small one that comes later.
 */
final class Lanes {

    private static final int TEXTS_A_RUN = 4 * Encoder.BATCH;
    /** The most characters in one run of texts, unless a single text is longer. */
    private static final int CHARACTERS_A_RUN = 1 << 17;
    // Half of what a run takes at best: a search doesn't wait for it, but shares the cores with it.
    private static final int IMAGES_A_RUN = Encoder.BATCH / 2;
    /** How many waiting jobs are searched for ones to run together; with several models in turn it could be all of them. */
    private static final int LOOKED_AT = 1_000;
    private static final Comparator<Job> ORDER = Comparator.<Job>comparingLong(job -> job.place).thenComparingLong(job -> job.number);

    /** What one lane has. */
    private static final class Line {

        final TreeSet<Job> waiting = new TreeSet<>(ORDER);
        /** How many of those that wait count against the capacity. */
        int counted;
        int working;
        /** The place of the job that was taken last. */
        long place;
    }

    /** Jobs to run together, of the lane that the thread now works on. */
    record Turn(Lane lane, List<Job> jobs) {}

    private final int workers;
    private final int capacity;
    private final long charactersARun;
    private final Map<Lane, Line> lines = new EnumMap<>(Lane.class);
    private long number;
    private boolean closed;

    /** {@code mostCharacters} limits a run of texts further where memory is short. */
    Lanes(int workers, int capacity, long mostCharacters) {
        this.workers = workers;
        this.capacity = capacity;
        this.charactersARun = Math.min(CHARACTERS_A_RUN, mostCharacters);
        for (Lane lane : Lane.values()) {
            lines.put(lane, new Line());
        }
    }

    /** How many threads work at most, on all lanes together, where a lane has {@code workers} at most. */
    static int threads(int workers) {
        return workers + Lane.values().length - 1;
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
        Line line = lines.get(lane);
        if (closed) {
            throw closing();
        }
        if (count > 0 && line.counted + count > capacity) {
            throw new EsRejectedExecutionException(
                "the queue of crosslens for " + lane + " holds " + line.counted + " of " + capacity + " requests, and " + count
                    + " more don't fit; try again later, send less at a time, or raise crosslens.queue_size"
            );
        }
        for (int i = 0; i < jobs.size(); i++) {
            Job job = jobs.get(i);
            job.place = line.place + i / (job.task != null ? 1 : job.input.isText() ? TEXTS_A_RUN : IMAGES_A_RUN);
            job.number = number++;
        }
        line.counted += count;
        line.waiting.addAll(jobs);
        return starts(lane);
    }

    /** Puts jobs back to where they were in their lane; returns as {@link #add} does. */
    synchronized boolean putBack(Lane lane, List<Job> jobs) {
        lines.get(lane).waiting.addAll(jobs);
        lines.get(lane).counted += counting(jobs);
        return starts(lane);
    }

    private boolean starts(Lane lane) {
        Line line = lines.get(lane);
        int after = all() + 1 + idle() - (line.working == 0 ? 1 : 0);
        if (line.working >= workers || after > threads(workers)) {
            return false;
        }
        line.working++;
        return true;
    }

    private int all() {
        return lines.values().stream().mapToInt(line -> line.working).sum();
    }

    /** How many lanes have no thread: one is kept for each of them. */
    private int idle() {
        return (int) lines.values().stream().filter(line -> line.working == 0).count();
    }

    /** The next run for a thread that works on {@code lane}, or null when there is none, after which it is no longer counted. */
    synchronized Turn next(Lane lane) {
        Lane chosen = chosen(lane);
        if (chosen == null) {
            ended(lane);
            return null;
        }
        if (chosen != lane) {
            lines.get(lane).working--;
            lines.get(chosen).working++;
            notifyAll();
        }
        Line line = lines.get(chosen);
        Job first = line.waiting.pollFirst();
        line.place = Math.max(line.place, first.place);
        List<Job> batch = new ArrayList<>(List.of(first));
        if (first.task == null) {
            addCompany(batch, line.waiting);
        }
        line.counted -= counting(batch);
        return new Turn(chosen, batch);
    }

    private Lane chosen(Lane lane) {
        Line own = lines.get(lane);
        long active = lines.values().stream().filter(line -> line.working > 0 || line.waiting.isEmpty() == false).count();
        int share = (int) Math.max(1, threads(workers) / active);
        Lane poorest = null;
        for (Map.Entry<Lane, Line> each : lines.entrySet()) {
            Line line = each.getValue();
            boolean hungry = each.getKey() != lane && line.waiting.isEmpty() == false && line.working < workers;
            if (hungry && (poorest == null || line.working < lines.get(poorest).working)) {
                poorest = each.getKey();
            }
        }
        // The last thread of a lane leaves a place for the next one, which isn't given away.
        boolean free = own.working > 1 || all() + idle() < threads(workers);
        boolean leaves = own.waiting.isEmpty() || own.working > share && poorest != null && lines.get(poorest).working < share;
        if (leaves == false) {
            return lane;
        }
        if (poorest != null && free) {
            return poorest;
        }
        return own.waiting.isEmpty() ? null : lane;
    }

    private void addCompany(List<Job> batch, TreeSet<Job> waiting) {
        Job first = batch.get(0);
        boolean texts = first.input.isText();
        int most = texts ? TEXTS_A_RUN : IMAGES_A_RUN, looked = 0;
        long characters = texts ? first.input.text().length() : 0;
        for (Iterator<Job> others = waiting.iterator(); others.hasNext() && batch.size() < most && looked < LOOKED_AT; looked++) {
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
        Line line = lines.get(job.lane);
        if (line.waiting.remove(job) && job.parked == false) {
            line.counted--;
        }
    }

    /** Removes and returns all waiting jobs. */
    synchronized List<Job> clear(Lane lane) {
        Line line = lines.get(lane);
        List<Job> all = List.copyOf(line.waiting);
        line.waiting.clear();
        line.counted = 0;
        return all;
    }

    /** One thread less works on a lane. */
    synchronized void ended(Lane lane) {
        lines.get(lane).working--;
        notifyAll();
    }

    synchronized int waiting(Lane lane) {
        return lines.get(lane).waiting.size();
    }

    synchronized int working(Lane lane) {
        return lines.get(lane).working;
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
        while (all() > 0) {
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
