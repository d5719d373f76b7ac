package org.crosslens.server.words;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.termvectors.MultiTermVectorsItemResponse;
import org.elasticsearch.action.termvectors.MultiTermVectorsRequest;
import org.elasticsearch.action.termvectors.MultiTermVectorsResponse;
import org.elasticsearch.action.termvectors.TermVectorsRequest;
import org.elasticsearch.action.termvectors.TermVectorsResponse;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.common.xcontent.XContentHelper;
import org.elasticsearch.xcontent.ToXContent;
import org.elasticsearch.xcontent.XContentType;
import org.elasticsearch.xcontent.json.JsonXContent;

/**
 * Finding the words of queries. Where the analysis of a field is known to part words at spaces, nothing needs to be asked;
 * where it isn't, the server is asked how it parts a text, by the term vectors of an artificial document, which need no more
 * than the right to read.
 */
public final class Words {

    private static final Logger LOG = LogManager.getLogger(Words.class);
    private static final int MOST_FIELDS = 16;

    private Words() {}

    /**
     * Answers with each query's probes: null for one whose best score can't be known. {@code queries} are
     * JSON, null for a leg that has none. A text that the server doesn't part stays whole: the ranking is then a little
     * less sure of its words.
     */
    public static void probes(
        Client client,
        TextFields fields,
        List<Map<String, Object>> queries,
        ActionListener<List<Probes>> listener
    ) {
        Set<Units.Text> unparted = new LinkedHashSet<>();
        for (Map<String, Object> query : queries) {
            if (query != null) {
                Probes.texts(query)
                    .stream()
                    .filter(text -> fields.words(text.text(), text.fields()) == null)
                    .forEach(unparted::add);
            }
        }
        if (unparted.isEmpty()) {
            listener.onResponse(probes(fields, queries, Map.of()));
            return;
        }
        List<Units.Text> asked = List.copyOf(unparted);
        MultiTermVectorsRequest request = new MultiTermVectorsRequest();
        asked.forEach(text -> request.add(question(fields, text)));
        client.multiTermVectors(
            request,
            listener.<MultiTermVectorsResponse>delegateFailureAndWrap(
                (next, answer) -> next.onResponse(probes(fields, queries, parted(fields, asked, answer)))
            ).delegateResponse((next, e) -> {
                LOG.debug("the words of a query's texts aren't known", e);
                listener.onResponse(probes(fields, queries, Map.of()));
            })
        );
    }

    private static List<Probes> probes(TextFields fields, List<Map<String, Object>> queries, Map<Units.Text, List<String>> parted) {
        Units.Split split = (text, named) -> {
            List<String> known = fields.words(text, named);
            return known != null ? known : parted.getOrDefault(new Units.Text(text, named), List.of(text));
        };
        List<Probes> probes = new ArrayList<>();
        for (Map<String, Object> query : queries) {
            probes.add(query == null || fields.isUnknown() ? null : Probes.of(query, split));
        }
        return probes;
    }

    private static TermVectorsRequest question(TextFields fields, Units.Text text) {
        List<String> known = fields.named(text.fields());
        String index = fields.indexOf(known.get(0));
        List<String> asked = known.stream().filter(path -> fields.indexOf(path).equals(index)).limit(MOST_FIELDS).toList();
        Map<String, Object> document = new LinkedHashMap<>();
        Map<String, String> analysers = new HashMap<>();
        for (String path : asked) {
            // The words of a multi-field are those of its parent.
            int dot = path.lastIndexOf('.');
            String parent = dot < 0 ? null : path.substring(0, dot);
            document.put(parent != null && fields.indexOf(parent) != null ? parent : path, text.text());
            analysers.put(path, fields.analyserOf(path));
        }
        try {
            TermVectorsRequest request = new TermVectorsRequest(index, null).doc(JsonXContent.contentBuilder().map(document));
            return request.selectedFields(asked.toArray(String[]::new))
                .perFieldAnalyzer(analysers)
                .offsets(true)
                .positions(true)
                .payloads(false)
                .fieldStatistics(false)
                .termStatistics(false);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Map<Units.Text, List<String>> parted(TextFields fields, List<Units.Text> asked, MultiTermVectorsResponse answer)
        throws IOException {
        Map<Units.Text, List<String>> parted = new HashMap<>();
        for (int i = 0; i < asked.size(); i++) {
            MultiTermVectorsItemResponse item = answer.getResponses()[i];
            if (item.isFailed()) {
                LOG.debug("the words of a query's text aren't known", item.getFailure().getCause());
                continue;
            }
            Units.Text text = asked.get(i);
            List<String> words = Texts.parted(places(item.getResponse(), Set.copyOf(fields.named(text.fields()))), text.text());
            // An analyser that makes one token of the whole text, or none with their places, leaves it as it is.
            if (words.isEmpty() == false) {
                parted.put(text, words);
            }
        }
        return parted;
    }

    /** The tokens' places by field. */
    private static List<List<Texts.Place>> places(TermVectorsResponse answer, Set<String> fields) throws IOException {
        Map<String, Object> vectors = Json.object(json(answer), "term_vectors");
        List<List<Texts.Place>> places = new ArrayList<>();
        for (String field : vectors.keySet()) {
            if (fields.contains(field) == false) {
                continue;
            }
            List<Texts.Place> found = new ArrayList<>();
            Json.object(Json.object(vectors, field), "terms").values().forEach(term -> {
                for (Object token : Json.list(Json.object(term).get("tokens"))) {
                    Map<String, Object> place = Json.object(token);
                    found.add(new Texts.Place((int) place.get("start_offset"), (int) place.get("end_offset")));
                }
            });
            places.add(found);
        }
        return places;
    }

    /** What something looks like in a request or an answer. */
    static Map<String, Object> json(ToXContent of) throws IOException {
        return XContentHelper.convertToMap(XContentHelper.toXContent(of, XContentType.JSON, false), true, XContentType.JSON).v2();
    }
}
