package org.crosslens.server.work;

import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.encode.Encoder;
import org.elasticsearch.action.ActionListener;

/**
 * Keeps models loaded and warm, so that the first search is as fast as the others: each encodes a text and an image when the
 * node starts, after its folder was changed, and whenever it isn't loaded for another reason.
 */
public final class Preload {

    private static final Logger LOG = LogManager.getLogger(Preload.class);
    /** One grey pixel as a PNG. */
    private static final String PIXEL =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==";

    private record Wish(String model, boolean text) {}

    private final List<String> names;
    private final Models models;
    private final Encoding encoding;
    // Both guarded by this.
    private final Set<Wish> warming = new HashSet<>();
    private final Map<Wish, String> said = new HashMap<>();

    /** The models of these {@code names}, as {@link Models#find} takes them. */
    public Preload(List<String> names, Models models, Encoding encoding) {
        this.names = names;
        this.models = models;
        this.encoding = encoding;
    }

    /** Warms what isn't loaded, in the background, and keeps what is from being unloaded as idle. */
    public void keep() {
        for (String name : names) {
            for (boolean text : new boolean[] { true, false }) {
                keep(new Wish(name, text));
            }
        }
    }

    private void keep(Wish wish) {
        synchronized (this) {
            if (warming.contains(wish)) {
                return;
            }
        }
        try (Models.Lease lease = models.leaseIfLoaded(wish.model, new Encoder.Use(wish.text, true))) {
            if (lease != null) {
                return;
            }
        } catch (RuntimeException e) {
            failed(wish, e);
            return;
        }
        synchronized (this) {
            warming.add(wish);
        }
        Input input = wish.text ? Input.of("a") : Input.of(Base64.getDecoder().decode(PIXEL));
        encoding.submit(Encoding.Lane.SEARCH, wish.model, input, ActionListener.wrap(vector -> warmed(wish), e -> failed(wish, e)));
    }

    private synchronized void warmed(Wish wish) {
        warming.remove(wish);
        said.remove(wish);
        LOG.info("preloaded model [{}] for {}", wish.model, wish.text ? "texts" : "images");
    }

    private synchronized void failed(Wish wish, Exception e) {
        warming.remove(wish);
        // It is tried again and again; one line says enough until something changes.
        if (String.valueOf(e.getMessage()).equals(said.put(wish, String.valueOf(e.getMessage()))) == false) {
            LOG.warn("crosslens.preload: model [{}] can't be loaded for {}", wish.model, wish.text ? "texts" : "images", e);
        }
    }
}
