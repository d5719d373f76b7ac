package org.crosslens.server.documents;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;

/**
 * Cuts a text of any length into passages that a model reads whole: they end at sentence ends, and overlap by one sentence.
 * Equal to the Python package's {@code crosslens.ingest.model.passages}.
 *
 * <p>It goes step by step, each of which takes bounded time and memory, so that others may have their turn in between.
 */
public final class Cutter {

    /** A document's passages at most: half as many as an index's nested objects may be by default. */
    public static final int MOST_PASSAGES = 5_000;
    /** What a step counts at once where there is memory enough, in characters. */
    public static final int CHARACTERS = 1 << 16;
    /** No common vocabulary has longer entries; what is longer for each token is halved before it is counted. */
    private static final int CHARACTERS_A_TOKEN = 64;
    private static final int COUNTED = 256;

    /** How many tokens each text has, without those that a tokenizer adds around it. */
    @FunctionalInterface
    public interface Counts {
        int[] of(List<String> texts);
    }

    private final String text;
    private final int most;
    private final int longest;
    private final int characters;
    private final Counts counts;
    private final Consumer<Passage> made;
    private final Sentences sentences;
    /** Parts of the present sentence that aren't counted yet, the first on top. */
    private final Deque<Passage> pending = new ArrayDeque<>();
    private List<Passage> held = new ArrayList<>();
    private int total;
    private int last;
    // Up to where code points have been counted.
    private int unit;
    private int point;

    /**
     * For passages of at most {@code most} tokens, which go to {@code made} in order. A step counts up to {@code characters} at
     * once, unless a single part is longer; what the passages are doesn't depend on it.
     */
    public Cutter(String text, int most, int characters, Counts counts, Consumer<Passage> made) {
        this.text = text;
        this.most = most;
        this.longest = longest(most);
        this.characters = characters;
        this.counts = counts;
        this.made = made;
        this.sentences = new Sentences(text);
    }

    /** The code points of the longest text that is counted, for passages of at most {@code most} tokens. */
    public static int longest(int most) {
        return CHARACTERS_A_TOKEN * Math.max(most, 1);
    }

    /** How many UTF-16 units have been read. */
    public int done() {
        return unit;
    }

    /** Cuts on by one step; returns whether there is more to do. */
    public boolean advance() {
        List<Passage> batch = new ArrayList<>();
        long taken = 0;
        Passage part = null;
        while (batch.size() < COUNTED && taken < characters && (part = next()) != null) {
            batch.add(part);
            taken += part.to() - part.from();
        }
        count(batch);
        if (part == null) {
            finish();
        }
        return part != null;
    }

    /** The next sentence, or part of one that is long for its characters alone; null for none. */
    private Passage next() {
        if (pending.isEmpty()) {
            if (sentences.advance() == false) {
                return null;
            }
            int start = point + text.codePointCount(unit, sentences.start());
            point = start + text.codePointCount(sentences.start(), sentences.end());
            unit = sentences.end();
            pending.push(new Passage(sentences.start(), unit, start, point));
        }
        while (pending.peek().length() > longest && pending.peek().length() >= 2) {
            List<Passage> halves = halves(pending.pop());
            pending.push(halves.get(1));
            pending.push(halves.get(0));
        }
        return pending.pop();
    }

    private void count(List<Passage> parts) {
        if (parts.isEmpty()) {
            return;
        }
        int[] tokens = counts.of(parts.stream().map(part -> part.of(text)).toList());
        for (int i = 0; i < tokens.length; i++) {
            Passage part = parts.get(i);
            if (tokens[i] <= most || part.length() < 2) {
                pack(part, tokens[i]);
            } else {
                count(halves(part));
            }
        }
    }

    /** Adds to the present passage; one begins with the last sentence of the one before, where that leaves room for the next. */
    private void pack(Passage part, int tokens) {
        if (held.isEmpty() == false && (total + tokens > most || part.end() - held.get(0).start() > longest)) {
            fit(held);
            Passage before = held.get(held.size() - 1);
            boolean overlaps = held.size() > 1 && last + tokens <= most && part.end() - before.start() <= longest;
            held = new ArrayList<>();
            total = 0;
            if (overlaps) {
                held.add(before);
                total = last;
            }
        }
        held.add(part);
        total += tokens;
        last = tokens;
    }

    private void finish() {
        if (held.isEmpty() == false) {
            fit(held);
            held = new ArrayList<>();
        }
    }

    /** Makes one passage of {@code parts} or, where together they have more tokens than apart, several. */
    private void fit(List<Passage> parts) {
        Passage first = parts.get(0), end = parts.get(parts.size() - 1);
        Passage whole = new Passage(first.from(), end.to(), first.start(), end.end());
        if (parts.size() == 1 || counts.of(List.of(whole.of(text)))[0] <= most) {
            made.accept(whole);
            return;
        }
        fit(parts.subList(0, parts.size() / 2));
        fit(parts.subList(parts.size() / 2, parts.size()));
    }

    /** Both halves, cut at the last space before the middle or, without one, in the middle; no space stays between them. */
    private List<Passage> halves(Passage whole) {
        int middle = text.offsetByCodePoints(whole.from(), whole.length() / 2), cut = middle;
        while (cut > whole.from() && Python.isSpace(text.charAt(cut)) == false) {
            cut--;
        }
        cut = cut > whole.from() ? cut : middle;
        int to = cut, from = cut;
        while (to > whole.from() && Python.isSpace(text.charAt(to - 1))) {
            to--;
        }
        while (from < whole.to() && Python.isSpace(text.charAt(from))) {
            from++;
        }
        return List.of(
            new Passage(whole.from(), to, whole.start(), whole.start() + text.codePointCount(whole.from(), to)),
            new Passage(from, whole.to(), whole.end() - text.codePointCount(from, whole.to()), whole.end())
        );
    }
}
