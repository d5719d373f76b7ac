package org.crosslens.server.share;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.share.Store.Kept;
import org.crosslens.server.share.Store.State;
import org.crosslens.server.wire.Peers;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.transport.TransportService;

/**
 * Gives models to all nodes of the cluster and takes them away, where the node's setting allows it.
 *
 * <p>A client announces a model ({@link #put}), sends the parts that the answer says are missing ({@link #putPart}), and
 * announces it again. Once nothing is missing this node puts it together and checks it; then it is published, and every
 * node takes it from the index. Nothing of it is remembered outside the index, so any node may be asked at each step, and
 * an upload that was cut off goes on where it ended.
 *
 * <p>All of this waits for Elasticsearch, so it is for generic threads.
 */
public final class Sharing {

    private static final Logger LOG = LogManager.getLogger(Sharing.class);

    private final long most;
    private final Members members;
    private final Claims claims;
    private final Gate gate;
    // All null where the setting is off.
    private final Store store;
    private final Staging staging;
    private final Syncing syncing;

    Sharing(long most, Peers peers, Own own, Gate gate, Store store, Staging staging, Syncing syncing) {
        this.most = most;
        this.members = new Members(peers, own, syncing);
        this.claims = new Claims(store, peers, members);
        this.gate = gate;
        this.store = store;
        this.staging = staging;
        this.syncing = syncing;
    }

    /** Answers other nodes from now on. Called once, when the node's transport is there. */
    public void join(TransportService transport) {
        members.join(transport);
    }

    /** Brings this node's shared models up to date if that was long ago; called now and then. */
    void tick() {
        syncing.tick();
    }

    /** Ends what is being done. */
    public void close() {
        if (syncing != null) {
            syncing.close();
        }
    }

    /**
     * How a model stands: its fingerprint, how many parts it has and which are missing; once none is, it is published, and
     * {@code nodes} says by their names which have it.
     */
    public record Outcome(String name, String fingerprint, boolean published, int parts, List<Integer> missing, Map<String, Node> nodes) {

        private static Outcome of(Manifest manifest, boolean published, List<Integer> missing) {
            return new Outcome(manifest.name(), manifest.fingerprint(), published, manifest.parts().size(), missing, Map.of());
        }

        private Outcome with(Map<String, SyncMessages.Response> answers) {
            Map<String, Node> said = new TreeMap<>();
            answers.forEach((node, each) -> said.put(node, new Node(each.standing.name().toLowerCase(Locale.ROOT), each.reason)));
            return new Outcome(name, fingerprint, published, parts, missing, said);
        }
    }

    /** How a node stands with a model, in a word, and the reason if it hasn't it. */
    public record Node(String state, String reason) {}

    /**
     * Announces the model {@code name}, or publishes it where all its parts are there; {@code dry} only says what is there.
     *
     * <p>Fails with {@link IllegalArgumentException} for claims that can't be and for parts that don't fit them (of which
     * then nothing stays), and with 409 where another model has the name.
     */
    public void put(String name, Body body, boolean dry, Wanted wanted, ActionListener<Outcome> listener) throws IOException {
        checkAllowed();
        Outcome outcome = gate.request(body.length(), () -> {
            Manifest manifest = body.manifest(name, most);
            Kept kept = announced(manifest, dry);
            if (kept == null) {
                return Outcome.of(manifest, false, IntStream.range(0, manifest.parts().size()).boxed().toList());
            }
            if (kept.state() == State.PUBLISHED) {
                return Outcome.of(kept.manifest(), true, List.of());
            }
            List<Integer> missing = store.missing(manifest);
            if (dry || missing.isEmpty() == false) {
                return Outcome.of(manifest, false, missing);
            }
            publish(kept, wanted);
            return Outcome.of(manifest, true, List.of());
        });
        if (outcome.published) {
            ask(outcome, dry == false, wanted, listener);
        } else {
            listener.onResponse(outcome);
        }
    }

    private void ask(Outcome outcome, boolean sync, Wanted wanted, ActionListener<Outcome> listener) {
        ActionListener<Outcome> once = ActionListener.notifyOnce(listener);
        wanted.onEnd(() -> {
            RuntimeException why = wanted.ended();
            if (why != null) {
                // Nodes go on with what is published, whoever wants to know.
                once.onFailure(why);
            }
        });
        members.ask(outcome.name, sync, once.map(outcome::with));
    }

    /** The model's entry, made unless there is one; null where {@code dry} and there is none. */
    private Kept announced(Manifest manifest, boolean dry) {
        String name = manifest.name();
        Kept kept = store.get(name);
        if (kept != null && kept.state() == State.DELETING) {
            if (dry == false) {
                // Whoever deleted it was cut off.
                store.delete(kept.manifest());
            }
            kept = null;
        }
        if (kept == null) {
            claims.checkFree(name);
            if (dry) {
                return null;
            }
            store.create(manifest);
            kept = store.get(name);
        }
        if (kept == null || kept.state() == State.DELETING) {
            throw Claims.gone(name);
        }
        Claims.checkSame(kept, manifest);
        return kept;
    }

    private void publish(Kept kept, Wanted wanted) throws IOException {
        Manifest manifest = kept.manifest();
        Path folder;
        try {
            folder = staging.stage(manifest, wanted);
        } catch (IllegalArgumentException e) {
            LOG.warn("the model [{}] that a client sent is refused: {}", manifest.name(), e.getMessage());
            forget(kept);
            throw e;
        }
        syncing.keep(manifest.upload(), folder);
        try {
            if (store.change(kept, State.PUBLISHED)) {
                return;
            }
        } catch (RuntimeException e) {
            unused(manifest);
            throw e;
        }
        unused(manifest);
        Store.Listed now = store.look(manifest.name());
        if (now == null || now.state() != State.PUBLISHED || now.upload().equals(manifest.upload()) == false) {
            throw Claims.gone(manifest.name());
        }
    }

    private void unused(Manifest manifest) throws IOException {
        Path folder = syncing.takeBack(manifest.upload());
        if (folder != null) {
            Depot.delete(folder);
        }
    }

    /** Keeps the part of {@code number}, from 0 on, of an announced model. Fails as {@link #put} does. */
    public void putPart(String name, int number, Body body) throws IOException {
        checkAllowed();
        Manifest.checkName(name);
        gate.request(body.length(), () -> {
            Kept kept = store.get(name);
            if (kept == null || kept.state() == State.DELETING) {
                throw new ElasticsearchStatusException("no model [{}] was announced", RestStatus.NOT_FOUND, name);
            }
            if (kept.state() == State.PUBLISHED) {
                throw Claims.conflict("the model [{}] is complete and takes no more parts", name);
            }
            byte[] bytes = body.data();
            Unpacking.checkPart(kept.manifest(), number, bytes);
            store.putPart(kept.manifest(), number, bytes);
            Store.Listed now = store.look(name);
            if (now == null || now.state() == State.DELETING) {
                // What is deleted while its parts arrive leaves none behind.
                store.delete(kept.manifest());
                throw Claims.gone(name);
            }
            return null;
        });
    }

    /**
     * Deletes the model {@code name}, published or not, then answers with how the nodes stand; {@code dry} only says that.
     * Fails with 404 where there is none, and with 409 where somebody put it among some node's own models.
     */
    public void delete(String name, boolean dry, Wanted wanted, ActionListener<Outcome> listener) throws IOException {
        checkAllowed();
        Manifest.checkName(name);
        Outcome outcome = gate.request(0, () -> {
            Kept kept = store.get(name);
            if (kept == null) {
                claims.checkNobodysOwn(name);
                throw new ElasticsearchStatusException("the cluster has no model [{}]", RestStatus.NOT_FOUND, name);
            }
            if (dry == false) {
                forget(kept);
            }
            return Outcome.of(kept.manifest(), dry && kept.state() == State.PUBLISHED, List.of());
        });
        ask(outcome, dry == false, wanted, listener);
    }

    /** Deletes a model, in an order that can be cut off anywhere: nodes that look no longer see it, then it goes. */
    private void forget(Kept kept) {
        if (kept.state() != State.DELETING && store.change(kept, State.DELETING) == false) {
            throw Claims.conflict("the model [{}] was changed meanwhile; try again", kept.manifest().name());
        }
        store.delete(kept.manifest());
    }

    private void checkAllowed() {
        if (store == null) {
            throw new ElasticsearchStatusException(
                "this node neither takes nor deletes models: crosslens.models.upload isn't true in its configuration",
                RestStatus.FORBIDDEN
            );
        }
    }
}
