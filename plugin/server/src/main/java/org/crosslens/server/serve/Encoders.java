package org.crosslens.server.serve;

import java.util.ArrayList;
import java.util.List;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Input;
import org.crosslens.server.work.Models;
import org.crosslens.server.work.NoModelException;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.GroupedActionListener;
import org.elasticsearch.core.Releasable;
import org.elasticsearch.transport.TransportService;

/** Encodes with a model of this node or, where it has none of that name, on one of the nodes that have it. */
public final class Encoders {

    /** What is sent to another node is held as it came, and as the message. */
    private static final long TIMES_HELD = 2;

    private final Models models;
    private final Encoding encoding;
    private final Others others;

    private record Placed(int at, float[] vector) {}

    public Encoders(Models models, Encoding encoding, Others others) {
        this.models = models;
        this.encoding = encoding;
        this.others = others;
    }

    /** Serves other nodes from now on, and is served by them. Called once, when the node's transport is there. */
    public void join(TransportService transport) {
        others.join(transport);
        Serving.register(transport, models, encoding);
    }

    /**
     * Answers with the model that {@code name} means: a folder's name, a model's name or its fingerprint; null for the only
     * one. Doesn't block. Fails with {@link IllegalArgumentException} where no node has it or several are meant.
     */
    public void find(String name, ActionListener<Served> listener) {
        models.find(name, ActionListener.wrap(found -> listener.onResponse(Served.of(found)), e -> {
            if (e instanceof NoModelException none) {
                others.find(name, none, listener);
            } else {
                listener.onFailure(e);
            }
        }));
    }

    /**
     * As {@link #find}, for a search of vectors of which an index records {@code fingerprint}: where no node has the model
     * that made them, answers with one whose queries may be compared with them.
     */
    public void findSearching(String fingerprint, ActionListener<Served> listener) {
        models.findSearching(fingerprint, ActionListener.wrap(found -> listener.onResponse(Served.of(found)), e -> {
            if (e instanceof NoModelException none) {
                others.findSearching(fingerprint, none, listener);
            } else {
                listener.onFailure(e);
            }
        }));
    }

    /**
     * Answers with the unit vectors of {@code inputs} by {@code model}, in the order given, or fails for all as
     * {@link Encoding#submit} does for one. Texts get the model's prompt for their {@code role}, on the node that has it.
     */
    public void encode(
        Purpose purpose,
        Prompts.Role role,
        Served model,
        List<Input> inputs,
        Wanted wanted,
        ActionListener<List<float[]>> listener
    ) {
        models.find(
            model.fingerprint(),
            ActionListener.wrap(found -> here(encoding, purpose, role, found, inputs, wanted, listener), e -> {
                if (e instanceof NoModelException none) {
                    there(purpose, role, model, inputs, wanted, none, listener);
                } else {
                    listener.onFailure(e);
                }
            })
        );
    }

    private void there(
        Purpose purpose,
        Prompts.Role role,
        Served model,
        List<Input> inputs,
        Wanted wanted,
        NoModelException none,
        ActionListener<List<float[]>> listener
    ) {
        Releasable held;
        try {
            held = encoding.hold(lane(purpose), TIMES_HELD * inputs.stream().mapToLong(Input::held).sum());
        } catch (RuntimeException e) {
            listener.onFailure(e);
            return;
        }
        ActionListener<List<float[]>> once = ActionListener.runAfter(ActionListener.notifyOnce(listener), held::close);
        others.encode(purpose, role, model, inputs, wanted, none, once);
    }

    static void here(
        Encoding encoding,
        Purpose purpose,
        Prompts.Role role,
        ModelFolder model,
        List<Input> given,
        Wanted wanted,
        ActionListener<List<float[]>> listener
    ) {
        if (given.stream().allMatch(Input::isText) == false) {
            model.withImages();
        }
        String prompt = model.prompts().of(role);
        List<Input> inputs = given.stream().map(each -> each.after(prompt)).toList();
        if (purpose == Purpose.QUERY && inputs.size() == 1) {
            encoding.query(model.fingerprint(), inputs.get(0), wanted, listener.map(List::of));
            return;
        }
        GroupedActionListener<Placed> all = new GroupedActionListener<>(inputs.size(), listener.map(placed -> {
            float[][] vectors = new float[placed.size()][];
            placed.forEach(each -> vectors[each.at] = each.vector);
            return List.of(vectors);
        }));
        List<ActionListener<float[]>> listeners = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            int at = i;
            listeners.add(all.map(vector -> new Placed(at, vector)));
        }
        encoding.submit(lane(purpose), purpose != Purpose.BULK, model.fingerprint(), inputs, wanted, listeners);
    }

    private static Encoding.Lane lane(Purpose purpose) {
        return purpose == Purpose.QUERY ? Encoding.Lane.SEARCH : Encoding.Lane.ENCODE;
    }
}
