package org.crosslens.server.work;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.crosslens.server.work.Encoding.Lane;
import org.elasticsearch.action.ActionListener;
import org.junit.jupiter.api.Test;

class LanesTest {

    private static List<Job> jobs(Lane lane, int count) {
        List<Job> jobs = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            jobs.add(Job.of(lane, false, "model", Input.of(new byte[1]), Wanted.ALWAYS, ActionListener.noop()));
        }
        return jobs;
    }

    @Test
    void everyLaneCanAlwaysBegin() {
        Lanes lanes = new Lanes(4, 1_000, 1_000);
        for (int i = 0; i < 4; i++) {
            assertTrue(lanes.add(Lane.SEARCH, jobs(Lane.SEARCH, 50)));
        }
        assertFalse(lanes.add(Lane.SEARCH, jobs(Lane.SEARCH, 50)), "no more threads than workers");
        assertTrue(lanes.add(Lane.INGEST, jobs(Lane.INGEST, 50)));
        assertFalse(lanes.add(Lane.INGEST, jobs(Lane.INGEST, 50)), "the last thread is kept for the third lane");
        assertTrue(lanes.add(Lane.ENCODE, jobs(Lane.ENCODE, 50)));
    }

    @Test
    void aThreadOfALaneWithMoreThanItsShareGoesOverAtTheEndOfARun() {
        Lanes lanes = new Lanes(4, 1_000, 1_000);
        for (int i = 0; i < 4; i++) {
            lanes.add(Lane.SEARCH, jobs(Lane.SEARCH, 50));
        }
        lanes.add(Lane.INGEST, jobs(Lane.INGEST, 200));
        // Of six threads two lanes have three each, of which one is kept for the third lane.
        assertEquals(Lane.INGEST, lanes.next(Lane.SEARCH).lane());
        assertEquals(Lane.INGEST, lanes.next(Lane.INGEST).lane());
        assertEquals(Lane.SEARCH, lanes.next(Lane.SEARCH).lane());
        assertEquals(3, lanes.working(Lane.SEARCH));
        assertEquals(2, lanes.working(Lane.INGEST));
    }

    @Test
    void aThreadWithoutWorkHelpsAnotherLaneAndEndsOnceThereIsNone() {
        Lanes lanes = new Lanes(2, 1_000, 1_000);
        lanes.add(Lane.SEARCH, jobs(Lane.SEARCH, 1));
        lanes.add(Lane.INGEST, jobs(Lane.INGEST, 40));
        assertEquals(Lane.SEARCH, lanes.next(Lane.SEARCH).lane());
        assertEquals(Lane.INGEST, lanes.next(Lane.INGEST).lane());
        int runs = 1;
        for (Lanes.Turn turn = lanes.next(Lane.INGEST); turn != null; turn = lanes.next(Lane.INGEST)) {
            runs++;
        }
        assertEquals(3, runs);
        assertNull(lanes.next(Lane.SEARCH));
        assertTrue(lanes.isIdleWithin(0));
    }

    @Test
    void aSmallRequestDoesNotWaitForAllOfALargeOne() {
        Lanes lanes = new Lanes(1, 10_000, 1_000);
        lanes.add(Lane.ENCODE, jobs(Lane.ENCODE, 1_000));
        lanes.next(Lane.ENCODE);
        List<Job> small = jobs(Lane.ENCODE, 1);
        lanes.add(Lane.ENCODE, small);
        assertTrue(lanes.next(Lane.ENCODE).jobs().contains(small.get(0)) || lanes.next(Lane.ENCODE).jobs().contains(small.get(0)));
    }

    @Test
    void aRefusedJobTakesNobodysPlace() {
        Lanes lanes = new Lanes(1, 2, 1_000);
        lanes.add(Lane.ENCODE, jobs(Lane.ENCODE, 2));
        lanes.remove(jobs(Lane.ENCODE, 1).get(0));
        assertEquals(2, lanes.waiting(Lane.ENCODE));
    }
}
