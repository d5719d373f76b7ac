package org.crosslens.server.ingest;

import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.crosslens.server.documents.References;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Models;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.ContextPreservingActionListener;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.ingest.AbstractProcessor;
import org.elasticsearch.ingest.IngestDocument;
import org.elasticsearch.ingest.Processor;

/**
 * Encodes a document's texts or images into a vector field, and records the state that the Python side records (hash of
 * the source, fingerprint of the model), so that both can serve one index.
 *
 * <p>Documents of one bulk are encoded together: the processor is asynchronous, and what waits is run in batches.
 */
public final class CrosslensProcessor extends AbstractProcessor {

    public static final String TYPE = "crosslens";
    /** With {@code each}, a small document could otherwise name files any number of times. */
    private static final int MOST_VALUES = 1_000;
    /** Up to so many characters are hashed on the caller's thread. */
    private static final int LARGE = 1 << 16;
    /** How often a document is begun again because the model was exchanged meanwhile. */
    private static final int TRIES = 3;

    /** What the node lends to its processors. */
    public record Services(Models models, Encoding encoding, References references, LabelSets labels, ThreadContext threadContext) {

        <T> ActionListener<T> preserving(ActionListener<T> listener) {
            return ContextPreservingActionListener.wrapPreservingContext(listener, threadContext);
        }
    }

    private final Supplier<Services> services;
    private final Settings settings;

    private CrosslensProcessor(String tag, String description, Supplier<Services> services, Settings settings) {
        super(tag, description);
        this.services = services;
        this.settings = settings;
    }

    /** Reads processors from pipelines. */
    public record Maker(Supplier<Services> services) implements ProcessorMaker {

        @Override
        public Processor make(String tag, String description, Map<String, Object> config) {
            return new CrosslensProcessor(tag, description, services, Settings.read(tag, config));
        }
    }

    @Override
    public String getType() {
        return TYPE;
    }

    @Override
    public boolean isAsync() {
        return true;
    }

    @Override
    public void execute(IngestDocument document, BiConsumer<IngestDocument, Exception> handler) {
        begin(document, once(handler), TRIES);
    }

    /** Answers once only, though what it calls may fail afterwards. */
    static BiConsumer<IngestDocument, Exception> once(BiConsumer<IngestDocument, Exception> handler) {
        AtomicBoolean handled = new AtomicBoolean();
        return (result, e) -> {
            if (handled.compareAndSet(false, true)) {
                handler.accept(result, e);
            }
        };
    }

    private void begin(IngestDocument document, BiConsumer<IngestDocument, Exception> handler, int tries) {
        Services node = services.get();
        try {
            List<String> values = values(document);
            ActionListener<ModelFolder> found = ActionListener.wrap(model -> {
                ModelFolder folder = settings.source().image() ? model.withImages() : model;
                Consumer<Exception> again = failure -> again(document, handler, tries, model.fingerprint(), failure);
                Attempt attempt = new Attempt(node, settings, document, values, folder, handler, again);
                boolean large = values.stream().mapToLong(String::length).sum() > LARGE;
                if (values.isEmpty() == false && (large || settings.source().image())) {
                    // Large values are hashed, and files read, on the plugin's own threads.
                    node.encoding.park(node.preserving(ActionListener.wrap(turn -> attempt.begin(), e -> handler.accept(null, e))));
                } else {
                    attempt.begin();
                }
            }, e -> handler.accept(null, e));
            node.models.find(settings.model(), node.preserving(found));
        } catch (Exception e) {
            handler.accept(null, e);
        }
    }

    /** What is to be encoded. Throws {@link IllegalArgumentException} where the document can't take it, or it is too much. */
    private List<String> values(IngestDocument document) {
        Map<String, Object> whole = document.getSource();
        for (String path : List.of(settings.field(), settings.state())) {
            String obstacle = Paths.obstacle(whole, path);
            if (obstacle != null) {
                throw new IllegalArgumentException(
                    "[" + obstacle + "] isn't an object in this document, so [" + path + "] can't be stored in it"
                );
            }
        }
        List<String> values = settings.source().inputs(whole);
        // Of passages all texts together may have so many.
        if (settings.source().passages() == false && values.size() > MOST_VALUES) {
            throw new IllegalArgumentException(
                "[" + settings.source().fields().get(0) + "] holds " + values.size() + " values, more than the " + MOST_VALUES
                    + " that one document may have encoded"
            );
        }
        return values;
    }

    /** Begins a document again that failed because its model's folder was exchanged since; else fails it. */
    private void again(
        IngestDocument document,
        BiConsumer<IngestDocument, Exception> handler,
        int tries,
        String fingerprint,
        Exception failure
    ) {
        Services node = services.get();
        if (tries == 0) {
            handler.accept(null, failure);
            return;
        }
        node.models.find(settings.model(), node.preserving(ActionListener.wrap(now -> {
            if (now.fingerprint().equals(fingerprint)) {
                handler.accept(null, failure);
            } else {
                begin(document, handler, tries - 1);
            }
        }, e -> handler.accept(null, failure))));
    }
}
