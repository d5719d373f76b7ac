package org.crosslens.server.share;

import java.util.List;
import java.util.Map;
import org.crosslens.server.share.Store.Kept;
import org.crosslens.server.share.Store.State;
import org.crosslens.server.wire.Peers;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.action.support.PlainActionFuture;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.rest.RestStatus;

/** Whether a model may have the name that it is announced under. */
final class Claims {

    private static final TimeValue PATIENCE = TimeValue.timeValueSeconds(15);
    private final Store store;
    private final Peers peers;
    private final Members members;

    Claims(Store store, Peers peers, Members members) {
        this.store = store;
        this.peers = peers;
        this.members = members;
    }

    /** Refuses, with 409, a name that another model has or that no folder may have. */
    void checkFree(String name) {
        if (peers.masterReads() == false) {
            throw conflict("the elected master node has no crosslens plugin that knows of models' index; install it there first");
        }
        List<Store.Listed> all = store.list();
        if (all.size() >= Store.MOST_MODELS) {
            throw conflict("the cluster has {} models already, as many as it takes; delete one first", all.size());
        }
        for (Store.Listed each : all) {
            String other = each.name();
            if (other.equalsIgnoreCase(name) && other.equals(name) == false) {
                throw conflict("the cluster has a model [{}], whose folder some nodes can't tell from that of [{}]", other, name);
            }
        }
        checkNobodysOwn(name);
    }

    /** Refuses, with 409, the name of what somebody put among some node's own models. */
    void checkNobodysOwn(String name) {
        PlainActionFuture<Map<String, SyncMessages.Response>> answers = new PlainActionFuture<>();
        members.ask(name, false, answers);
        List<String> nodes = answers.actionGet(PATIENCE)
            .entrySet()
            .stream()
            .filter(each -> each.getValue().standing == Standing.OWN)
            .map(Map.Entry::getKey)
            .toList();
        if (nodes.isEmpty() == false) {
            throw conflict(
                "[{}] was put by hand into crosslens/ in the configuration folder of {}, where alone it can be changed or deleted",
                name,
                String.join(", ", nodes)
            );
        }
    }

    /** Refuses, with 409, another model than the one that {@code kept} is. */
    static void checkSame(Kept kept, Manifest manifest) {
        boolean same = kept.manifest().upload().equals(manifest.upload());
        if (kept.state() == State.PUBLISHED) {
            if (same == false && kept.manifest().fingerprint().equals(manifest.fingerprint()) == false) {
                throw conflict(
                    "the cluster has a model [{}] with the fingerprint {}; delete it first, or take another name",
                    manifest.name(),
                    kept.manifest().fingerprint()
                );
            }
        } else if (same == false) {
            throw conflict("another upload of a model [{}] has begun; let it end, or delete it first", manifest.name());
        }
    }

    static ElasticsearchStatusException gone(String name) {
        return conflict("the model [{}] was deleted meanwhile", name);
    }

    static ElasticsearchStatusException conflict(String message, Object... about) {
        return new ElasticsearchStatusException(message, RestStatus.CONFLICT, about);
    }
}
