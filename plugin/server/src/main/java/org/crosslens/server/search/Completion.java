package org.crosslens.server.search;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankDoc;

/** Searches, in one round trip, for legs' true scores of documents; they come among the scores that are known already. */
final class Completion {

    private final List<Leg> legs;
    private final List<Map<RankDoc.RankKey, Double>> scores;
    private final List<SearchSourceBuilder> searches = new ArrayList<>();
    private final List<Integer> owners = new ArrayList<>();

    /** {@code scores} are by leg and document. */
    Completion(List<Leg> legs, List<Map<RankDoc.RankKey, Double>> scores) {
        this.legs = legs;
        this.scores = scores;
    }

    /** Adds documents whose scores the leg {@code i} is to be asked for. */
    void add(int i, Collection<RankDoc.RankKey> keys) {
        List<RankDoc> documents = keys.stream().map(key -> new RankDoc(key.doc(), 0, key.shardIndex())).toList();
        for (SearchSourceBuilder search : legs.get(i).completions(documents)) {
            searches.add(search);
            owners.add(i);
        }
    }

    /** Answers when all scores are there; where none was to be asked for, at once. */
    void ask(Client client, Trip trip, ActionListener<Void> listener) {
        if (searches.isEmpty()) {
            listener.onResponse(null);
            return;
        }
        trip.ask(client, searches, listener.delegateFailureAndWrap((next, answers) -> {
            for (int i = 0; i < answers.length; i++) {
                int owner = owners.get(i);
                for (RankDoc document : Trip.documents(trip.answer(answers[i], legs.get(owner).name()))) {
                    scores.get(owner).put(Trip.key(document), (double) document.score);
                }
            }
            next.onResponse(null);
        }));
    }
}
