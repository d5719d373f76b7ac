package org.crosslens.server.work;

import java.util.ArrayList;
import java.util.List;
import org.crosslens.server.documents.Cutter;
import org.crosslens.server.documents.Passage;
import org.crosslens.server.documents.TextException;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ModelFolder;
import org.elasticsearch.action.ActionListener;

/**
 * Cuts a document's texts into passages for a model, by turns: a long text doesn't hold up other documents, and each turn
 * takes a bounded piece of it and memory that was reserved for that. It ends with its answer, or when the node closes.
 */
final class Cutting {

    private static final Encoder.Use TEXTS = new Encoder.Use(true, false);
    /** How often the model is loaded again because it was exchanged or unloaded before the next turn. */
    private static final int TRIES = 3;

    private final Models models;
    private final Encoding encoding;
    private final ModelFolder model;
    private final List<String> texts;
    private final ActionListener<List<List<Passage>>> listener;
    private final List<List<Passage>> made = new ArrayList<>();
    private final int characters;
    private final long bytes;
    private int count;
    private int tries;
    private Encoder encoder;
    private Cutter cutter;

    /** Takes at most half of {@code most} bytes of memory at a time, or what a single part needs. */
    Cutting(
        Models models,
        Encoding encoding,
        ModelFolder model,
        List<String> texts,
        long most,
        ActionListener<List<List<Passage>>> listener
    ) {
        this.models = models;
        this.encoding = encoding;
        this.model = model;
        this.texts = texts;
        this.listener = listener;
        long all = texts.stream().mapToLong(String::length).sum();
        // A code point may be two characters.
        long part = (long) Character.BYTES * Cutter.longest(model.text().length());
        this.characters = (int) Math.max(1, Math.min(most / 2 / Encoder.counting(1) - part, Cutter.CHARACTERS));
        this.bytes = Encoder.counting(Math.min(all, characters + part));
    }

    /** Waits for a turn. */
    void park() {
        encoding.park(bytes, ActionListener.wrap(turn -> turn(), listener::onFailure));
    }

    private void turn() {
        boolean more;
        try (Models.Lease lease = models.leaseIfLoaded(model.fingerprint(), TEXTS)) {
            if (lease == null) {
                load();
                return;
            }
            tries = 0;
            more = step(lease.encoder());
        }
        if (more) {
            park();
        } else {
            listener.onResponse(made);
        }
    }

    private void load() {
        if (tries++ == TRIES) {
            throw new IllegalStateException("the model was changed while it was being loaded; try again");
        }
        models.load(model.fingerprint(), TEXTS, ActionListener.wrap(loaded -> park(), listener::onFailure));
    }

    /** Cuts on for about as many characters as are counted together; returns whether there is more to do. */
    private boolean step(Encoder present) {
        encoder = present;
        int room = present.room();
        for (long done = 0; done < characters;) {
            if (cutter == null) {
                if (made.size() == texts.size()) {
                    return false;
                }
                List<Passage> passages = new ArrayList<>();
                made.add(passages);
                String text = texts.get(made.size() - 1);
                cutter = new Cutter(text, room, characters, each -> encoder.counts(each), each -> add(passages, each));
            }
            long before = cutter.done();
            if (cutter.advance() == false) {
                cutter = null;
            }
            done += cutter == null ? texts.get(made.size() - 1).length() - before : cutter.done() - before;
        }
        return true;
    }

    private void add(List<Passage> passages, Passage each) {
        if (count++ == Cutter.MOST_PASSAGES) {
            throw new TextException("the text makes more than " + Cutter.MOST_PASSAGES + " passages; split the document");
        }
        passages.add(each);
    }
}
