package org.crosslens.server.ingest;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.crosslens.server.documents.Passage;
import org.crosslens.server.documents.References;
import org.crosslens.server.documents.Source;
import org.crosslens.server.documents.TextException;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.work.Input;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.core.Releasable;
import org.elasticsearch.ingest.IngestDocument;

/** A document on its way through a processor, with one model. */
final class Attempt {

    /** The longest vectors that Elasticsearch takes. */
    private static final int MOST_DIMS = 4_096;

    private final CrosslensProcessor.Services node;
    private final Settings settings;
    private final IngestDocument document;
    private final Kept kept;
    private final List<String> values;
    private final ModelFolder model;
    private final String fingerprint;
    private final BiConsumer<IngestDocument, Exception> handler;
    private final Consumer<Exception> again;
    private String hash;
    private Passages passages;
    private float[][] vectors;
    private Releasable held = () -> {};
    // Written by several threads: each element by one, the map under its lock.
    private final String[] contents;
    private final Map<Integer, String> wrong = new LinkedHashMap<>();
    private volatile Exception failure;

    /** {@code again} gets a failure that another attempt might not have. */
    Attempt(
        CrosslensProcessor.Services node,
        Settings settings,
        IngestDocument document,
        List<String> values,
        ModelFolder model,
        BiConsumer<IngestDocument, Exception> handler,
        Consumer<Exception> again
    ) {
        this.node = node;
        this.settings = settings;
        this.document = document;
        this.kept = new Kept(document.getSource(), settings);
        this.values = values;
        this.model = model;
        this.fingerprint = model.fingerprint();
        this.handler = handler;
        this.again = again;
        this.contents = new String[values.size()];
    }

    void begin() {
        hash = settings.source().hash(values);
        if (values.isEmpty()) {
            missing();
        } else if (settings.source().passages()) {
            node.encoding().cut(model, values, node.preserving(ActionListener.wrap(this::cut, this::notCut)));
        } else if (settings.source().image() ? isOfThisSource() && isOfTheseImages() : isUnchanged(null)) {
            handler.accept(document, null);
        } else {
            encode(values);
        }
    }

    private void missing() {
        String reason = "no " + settings.described();
        if (settings.ignoreMissing() == false) {
            throw new IllegalArgumentException(reason + "; set [ignore_missing] to let such documents pass");
        }
        Map<String, Object> whole = document.getSource();
        boolean sent = settings.source().fields().stream().anyMatch(field -> Source.isIn(whole, field));
        if (sent || kept.isThere()) {
            finish(Map.of("skipped", reason), null);
        } else {
            // Perhaps a partial update: its document keeps the state of a source that wasn't sent.
            handler.accept(document, null);
        }
    }

    /** Whether the referenced images are unchanged since the vectors were made; files are hashed piece by piece. */
    private boolean isOfTheseImages() {
        List<String> now = new ArrayList<>();
        for (String value : values) {
            try {
                now.add(node.references().contentHash(value));
            } catch (ImageException e) {
                // Encoding says what is wrong.
                return false;
            }
        }
        return isUnchanged(content(now));
    }

    private String content(List<String> each) {
        return settings.source().each() ? Source.contentHash(String.join("\n", each).getBytes(StandardCharsets.US_ASCII)) : each.get(0);
    }

    /** Whether the document says of itself that its vector is the present source's. */
    private boolean isUnchanged(String content) {
        return kept.isOf(hash, fingerprint, content, values.size());
    }

    /** The same, whatever the image behind the reference is by now. */
    private boolean isOfThisSource() {
        return kept.isOf(hash, fingerprint, values.size());
    }

    /** Encodes the passages that have no vector yet, then finishes. */
    private void cut(List<List<Passage>> cut) {
        passages = new Passages(values, cut, kept.objects(fingerprint));
        if (passages.areStored() && kept.saysOf(hash, fingerprint)) {
            handler.accept(document, null);
        } else if (passages.lacking().isEmpty()) {
            finish(Map.of(), passages.stored(new float[0][]));
        } else {
            long bytes = passages.bytes(model.dims() > 0 ? model.dims() : MOST_DIMS);
            node.encoding().admit(bytes, node.preserving(ActionListener.wrap(this::encodeLacking, again)));
        }
    }

    private void encodeLacking(Releasable memory) {
        held = memory;
        try {
            encode(passages.lacking());
        } catch (RuntimeException e) {
            memory.close();
            throw e;
        }
    }

    private void notCut(Exception e) {
        if (e instanceof TextException == false) {
            again.accept(e);
        } else if (settings.recordErrors() == false) {
            handler.accept(null, e);
        } else if (kept.saysOf(hash, fingerprint)) {
            handler.accept(document, null);
        } else {
            finish(Map.of("error", e.getMessage()), null);
        }
    }

    /** Encodes every one of {@code each}, then finishes. */
    private void encode(List<String> each) {
        String prompt = model.prompts().passage();
        vectors = new float[each.size()][];
        List<Input> inputs = new ArrayList<>();
        List<ActionListener<float[]>> listeners = new ArrayList<>();
        AtomicInteger waiting = new AtomicInteger(each.size());
        for (int i = 0; i < each.size(); i++) {
            int at = i;
            inputs.add(settings.source().image() ? image(at) : Input.of(each.get(at)).after(prompt));
            ActionListener<float[]> listener = ActionListener.wrap(vector -> vectors[at] = vector, e -> failed(at, e));
            listeners.add(node.preserving(ActionListener.runAfter(listener, () -> {
                if (waiting.decrementAndGet() == 0) {
                    settled();
                }
            })));
        }
        node.encoding().park(fingerprint, inputs, listeners);
    }

    private Input image(int at) {
        return Input.of(node.references(), values.get(at), () -> {
            if (failure != null) {
                throw new ImageException("another image of the document failed");
            }
        }, data -> contents[at] = Source.contentHash(data));
    }

    /** Fails the document, unless its errors are to be recorded. */
    private void failed(int at, Exception e) {
        Exception named = e instanceof ImageException image ? References.named(values.get(at), image) : e;
        synchronized (wrong) {
            if (named instanceof ImageException && settings.recordErrors()) {
                wrong.put(at, named.getMessage());
            } else if (failure == null) {
                failure = named;
            }
        }
    }

    private void settled() {
        try {
            answer();
        } finally {
            held.close();
        }
    }

    private void answer() {
        if (failure == null) {
            try {
                String content = null;
                if (settings.source().image()) {
                    content = content(Arrays.stream(contents).map(each -> each == null ? "-" : each).toList());
                }
                encoded(content);
            } catch (RuntimeException e) {
                handler.accept(null, e);
            }
        } else if (failure instanceof ImageException) {
            handler.accept(null, failure);
        } else {
            again.accept(failure);
        }
    }

    private void encoded(String content) {
        Map<String, String> outcome = new HashMap<>();
        if (wrong.isEmpty() == false) {
            if (isOfThisSource()) {
                // A vector of the same source by the same model stays, though it can't be made again.
                handler.accept(document, null);
                return;
            }
            List<String> reasons = wrong.entrySet().stream()
                .sorted(Map.Entry.comparingByKey())
                .map(each -> settings.source().each() ? "[" + each.getKey() + "] " + each.getValue() : each.getValue())
                .toList();
            String more = reasons.size() > 3 ? "; and " + (reasons.size() - 3) + " more" : "";
            outcome.put("error", String.join("; ", reasons.subList(0, Math.min(3, reasons.size()))) + more);
        }
        if (content != null && (wrong.isEmpty() || settings.source().each())) {
            outcome.put("content", content);
        }
        finish(outcome, passages != null ? passages.stored(vectors) : Kept.of(vectors, values, settings));
    }

    private void finish(Map<String, String> outcome, Object made) {
        kept.write(made, hash, fingerprint, outcome);
        handler.accept(document, null);
    }
}
