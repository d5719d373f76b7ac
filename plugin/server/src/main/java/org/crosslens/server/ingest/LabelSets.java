package org.crosslens.server.ingest;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.function.LongSupplier;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.get.GetRequest;
import org.elasticsearch.action.get.GetResponse;
import org.elasticsearch.action.support.SubscribableListener;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.client.internal.OriginSettingClient;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;
import org.elasticsearch.index.IndexNotFoundException;
import org.elasticsearch.ingest.IngestService;

/**
 * The label sets that pipelines name, read from the hidden index {@code crosslens-moments} when a document first asks for
 * them, and kept. A set is known by its fingerprint, so what is kept is never out of date. Thread-safe.
 *
 * <p>They are read with the rights of the node, which whoever writes a document needs none for; a pipeline can only be put
 * by those who may, and names a set by its fingerprint.
 */
public final class LabelSets {

    private static final Logger LOG = LogManager.getLogger(LabelSets.class);
    private static final String INDEX = "crosslens-moments";
    /** What all sets take together, at most: 10,000 labels of 1,024 dims take 42 MB. */
    private static final long MOST_BYTES = 64L << 20;
    private static final int MOST_SETS = 1_000;
    /** A set that isn't there is looked for again after so long. */
    private static final long RETRY_MILLIS = 10_000;

    /** Where a set is: stored for the field {@code into} of that index, if it has the fingerprint. */
    record Name(String index, String into, String fingerprint) {

        private String id(int part) {
            return index + "/" + into + "/labels/" + part;
        }
    }

    /** Reads stored documents. */
    @FunctionalInterface
    interface Reader {

        /** Answers with the source of the document of that id; null where there is none. */
        void read(String id, ActionListener<Map<String, Object>> listener);
    }

    /** A set that is being read, or was; its answer is null where there is none. */
    private static final class Entry {

        private final SubscribableListener<LabelSet> answer = new SubscribableListener<>();
        // Guarded by the sets.
        private long bytes;
        private long reserved;
        private long until = Long.MAX_VALUE;
    }

    private final Reader reader;
    private final Executor executor;
    private final CircuitBreaker breaker;
    private final LongSupplier clock;
    // By when they were last asked for. Guarded by this, as is used.
    private final Map<Name, Entry> entries = new LinkedHashMap<>(16, 0.75f, true);
    private long used;

    /**
     * Reads by {@code client}, on {@code executor}; {@code breaker} counts what is being read, which then is kept within a bound
     * of its own, as query vectors are; {@code clock} gives milliseconds.
     */
    public LabelSets(Client client, Executor executor, CircuitBreaker breaker, LongSupplier clock) {
        this(reader(client), executor, breaker, clock);
    }

    LabelSets(Reader reader, Executor executor, CircuitBreaker breaker, LongSupplier clock) {
        this.reader = reader;
        this.executor = executor;
        this.breaker = breaker;
        this.clock = clock;
    }

    private static Reader reader(Client client) {
        // Security knows Elasticsearch's own origins only; by this one its ingest processors read hidden indices.
        Client own = new OriginSettingClient(client, IngestService.INGEST_ORIGIN);
        return (id, listener) -> own.get(new GetRequest(INDEX, id), listener.map(GetResponse::getSourceAsMap));
    }

    /** Answers with a set; null where there is none, or it can't be read just now. */
    void find(Name name, ActionListener<LabelSet> listener) {
        Entry entry, begun = null;
        synchronized (this) {
            entry = entries.get(name);
            if (entry == null || entry.until <= clock.getAsLong()) {
                entry = begun = new Entry();
                entries.put(name, entry);
                evict(entry);
            }
        }
        entry.answer.addListener(listener);
        if (begun != null) {
            part(name, begun, new ArrayList<>(), 0);
        }
    }

    /** Reads the next of {@code parts} parts; the first one says how many there are. */
    private void part(Name name, Entry entry, List<LabelSet.Part> read, int parts) {
        ActionListener<Map<String, Object>> listener = ActionListener.wrap(
            // Thousands of vectors are not for a thread that others' requests need.
            source -> executor.execute(() -> {
                try {
                    take(name, entry, read, source, parts);
                } catch (RuntimeException e) {
                    none(name, entry, e);
                }
            }),
            e -> none(name, entry, e)
        );
        reader.read(name.id(read.size()), listener);
    }

    private void take(Name name, Entry entry, List<LabelSet.Part> read, Map<String, Object> source, int known) {
        if (source == null || name.fingerprint.equals(source.get("fingerprint")) == false) {
            none(name, entry, null);
            return;
        }
        int parts = source.get("parts") instanceof Number number ? number.intValue() : 0;
        if (parts < 1 || read.isEmpty() == false && parts != known) {
            throw new IllegalArgumentException("it has " + parts + " parts");
        }
        LabelSet.Part part = LabelSet.Part.read(source);
        // Others are as large as the first, but for the last.
        check((parts - 1L) * part.vectors().length * Float.BYTES);
        reserve(entry, part.bytes());
        read.add(part);
        if (read.size() < parts) {
            part(name, entry, read, parts);
        } else {
            LabelSet set = LabelSet.of("boolean".equals(source.get("kind")), read);
            synchronized (this) {
                unreserve(entry);
            }
            entry.answer.onResponse(set);
        }
    }

    private static void check(long bytes) {
        if (bytes > MOST_BYTES) {
            throw new IllegalArgumentException("they take more than the " + (MOST_BYTES >> 20) + " MB that a node keeps of labels");
        }
    }

    private synchronized void reserve(Entry entry, long bytes) {
        check(entry.bytes + bytes);
        breaker.addEstimateBytesAndMaybeBreak(bytes, "<crosslens_labels>");
        used += bytes;
        entry.bytes += bytes;
        entry.reserved += bytes;
        evict(entry);
    }

    private void unreserve(Entry entry) {
        breaker.addWithoutBreaking(-entry.reserved);
        entry.reserved = 0;
    }

    /** Drops what was asked for longest ago, until the rest has room; but not {@code kept}. */
    private void evict(Entry kept) {
        Iterator<Entry> eldest = entries.values().iterator();
        while ((used > MOST_BYTES || entries.size() > MOST_SETS) && eldest.hasNext()) {
            Entry entry = eldest.next();
            if (entry != kept && entry.answer.isDone()) {
                eldest.remove();
                release(entry);
            }
        }
    }

    private void release(Entry entry) {
        unreserve(entry);
        used -= entry.bytes;
        entry.bytes = 0;
    }

    /** Answers that there is no set, which is asked for again after a while. */
    private void none(Name name, Entry entry, Exception why) {
        if (why != null && why instanceof IndexNotFoundException == false) {
            String meanwhile = why instanceof CircuitBreakingException ? " for want of memory" : "";
            LOG.warn(
                "documents are not given the labels of [{}] in [{}]{}, but left to runs from outside: {}",
                name.into,
                name.index,
                meanwhile,
                why.getMessage()
            );
        }
        synchronized (this) {
            release(entry);
            entry.until = clock.getAsLong() + RETRY_MILLIS;
        }
        entry.answer.onResponse(null);
    }

    /** How much memory sets take, in bytes. */
    synchronized long used() {
        return used;
    }
}
