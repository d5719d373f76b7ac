package org.crosslens.server.work;

import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.work.Encoding.Lane;

/** Answers jobs, and counts how they ended, by lane. */
final class Outcomes {

    private final Map<Lane, LaneStats> stats = new EnumMap<>(Lane.class);

    Outcomes() {
        for (Lane lane : Lane.values()) {
            stats.put(lane, new LaneStats());
        }
    }

    LaneStats of(Lane lane) {
        return stats.get(lane);
    }

    void answer(List<Job> answered, float[][] vectors) {
        for (int i = 0; i < answered.size(); i++) {
            Job job = answered.get(i);
            LaneStats counts = stats.get(job.lane);
            (job.input.isText() ? counts.texts : counts.images).increment();
            counts.latency.add(System.nanoTime() - job.since);
            job.tell(vectors[i], null);
        }
    }

    /** Fails a job, unless it was answered; returns whether this call did. */
    boolean fail(Job job, Exception e) {
        boolean failed = job.tell(null, e);
        if (failed) {
            stats.get(job.lane).failed.increment();
        }
        return failed;
    }

    /** Ends a job that is no longer wanted. */
    void end(Job job, RuntimeException why) {
        if (job.tell(null, why)) {
            stats.get(job.lane).ended.increment();
        }
    }

    /** Refuses jobs that found no place. */
    void refuse(Lane lane, List<Job> jobs, RuntimeException e) {
        stats.get(lane).rejected.add(jobs.size());
        jobs.forEach(job -> job.tell(null, e));
    }
}
