package org.crosslens.server.words;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.lucene.search.join.ScoreMode;
import org.crosslens.server.fusion.Sources;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.index.query.MultiMatchQueryBuilder;
import org.elasticsearch.index.query.Operator;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.QueryBuilders;
import org.elasticsearch.index.query.SimpleQueryStringBuilder;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class ProbesTest {

    @BeforeAll
    static void letElasticsearchLog() {
        LogConfigurator.configureESLogging();
    }

    private static List<Map<String, Object>> units(QueryBuilder query) {
        return Units.of(Queries.json(query), (text, fields) -> Texts.inWords(text));
    }

    private static List<String> words(QueryBuilder query) {
        return units(query).stream().map(unit -> unit == null ? null : word(unit)).toList();
    }

    private static String word(Map<String, Object> unit) {
        Map<String, Object> body = Json.object(unit.values().iterator().next());
        Object query = body.containsKey("query") ? body.get("query") : Json.object(body.values().iterator().next()).get("query");
        return String.valueOf(query);
    }

    @Test
    void aTextIsPartedIntoItsWords() {
        assertEquals(List.of("red", "heart", "red"), words(QueryBuilders.multiMatchQuery("red heart - red", "title", "body^2")));
        assertEquals(List.of("a", "b"), words(QueryBuilders.matchQuery("title", "a b").operator(Operator.AND)));
        Map<String, Object> unit = Json.object(units(QueryBuilders.matchQuery("title", "a b").minimumShouldMatch("2")).get(0), "match");
        assertTrue(Set.of("operator", "minimum_should_match").stream().noneMatch(Json.object(unit, "title")::containsKey));
    }

    @Test
    void phrasesAndExactValuesAreOne() {
        assertEquals(1, units(QueryBuilders.matchPhraseQuery("title", "red heart")).size());
        assertEquals(1, units(QueryBuilders.termQuery("kind", "a b c")).size());
        MultiMatchQueryBuilder phrase = QueryBuilders.multiMatchQuery("red heart", "title").type(MultiMatchQueryBuilder.Type.PHRASE);
        assertEquals(List.of("red heart"), words(phrase));
        assertEquals(1, units(QueryBuilders.matchQuery("price", 12)).size());
    }

    @Test
    void operatorsAreNoWordsAndWhatIsExcludedIsNone() {
        SimpleQueryStringBuilder simple = QueryBuilders.simpleQueryStringQuery("+red \"big heart\"~2 -blue | (AND do*)").field("title");
        assertEquals(List.of("red", "\"big heart\"~2", "AND", "do*"), words(simple));
        assertEquals(
            List.of("red", "title:heart", "\"a b\"^2"),
            words(QueryBuilders.queryStringQuery("red AND title:heart NOT blue OR \"a b\"^2 !green"))
        );
        assertEquals(List.of("a"), words(QueryBuilders.queryStringQuery("a NOT b")));
        List<String> unknown = new ArrayList<>();
        unknown.add(null);
        assertEquals(unknown, words(QueryBuilders.queryStringQuery("title:(a b)")));
    }

    @Test
    void noTextIsTooLongForTheStack() {
        for (String text : List.of("\"a b\"" + "~1".repeat(9_000), "-".repeat(20_000), "(".repeat(20_000), "a:".repeat(9_000) + "\"b\"")) {
            assertTrue(units(QueryBuilders.simpleQueryStringQuery(text).field("title")).size() <= 2);
        }
    }

    @Test
    void scoringClausesAddUpAndFiltersDont() {
        QueryBuilder query = QueryBuilders.boolQuery()
            .must(QueryBuilders.matchQuery("title", "a b"))
            .should(QueryBuilders.nestedQuery("parts", QueryBuilders.matchQuery("parts.name", "c"), ScoreMode.Avg))
            .filter(QueryBuilders.termQuery("kind", "x"))
            .mustNot(QueryBuilders.termQuery("kind", "y"));
        List<Map<String, Object>> units = units(query);
        assertEquals(3, units.size());
        assertEquals("parts", Json.object(units.get(2), "nested").get("path"));
        assertEquals(Set.of("title", "parts.name"), Probes.fields(Queries.json(query)));
    }

    @Test
    void ofOthersNothingIsKnown() {
        for (QueryBuilder query : List.of(
            QueryBuilders.matchAllQuery(),
            QueryBuilders.constantScoreQuery(QueryBuilders.matchQuery("a", "b")),
            QueryBuilders.boolQuery().must(QueryBuilders.matchQuery("a", "b")).boost(2),
            QueryBuilders.nestedQuery("a", QueryBuilders.matchQuery("a.b", "c"), ScoreMode.Total)
        )) {
            assertNull(Probes.of(Queries.json(query), (text, fields) -> Texts.inWords(text)), query.getName());
        }
    }

    @Test
    void manyWordsAreSampledEvenly() {
        StringBuilder text = new StringBuilder("w0");
        for (int i = 0; i < 40; i++) {
            text.append(" w").append(i);
        }
        Probes probes = Probes.of(Queries.json(QueryBuilders.matchQuery("t", text.toString())), (each, fields) -> Texts.inWords(each));
        assertEquals(Probes.MOST, probes.searches().size());
        assertTrue(probes.every().isEmpty());
        assertEquals(41, probes.words());
        assertEquals(2, probes.times()[0]);
        assertTrue(probes.searches().get(1).toString().contains("w2"), probes.searches().get(1).toString());
    }

    @Test
    void whatIsAttainableIsTheMeanOfTheWordsTimesTheirNumber() {
        Probes probes = new Probes(List.of(), new int[] { 1, 2, 1 }, 4, List.of(), List.of());
        assertEquals((2 + 2 * 5) / 3.0 * 4, probes.attainable(new double[] { 2, 5, Double.NaN }, 9), 1e-12);
        assertEquals((2 + 2 * 5) / 3.0 * 3, probes.attainable(new double[] { 2, 5, 0 }, 9), 1e-12);
        assertTrue(Double.isNaN(probes.attainable(new double[] { 0, Double.NaN, Double.NaN }, 0)));
    }

    @Test
    void wordsThatNobodyWroteAreSpeltALittleOtherwise() {
        Map<String, Object> query = Queries.json(QueryBuilders.matchQuery("t", "red heaxt zz zz"));
        Probes probes = Probes.of(query, (text, fields) -> Texts.inWords(text));
        Probes.Respelt respelt = probes.respelt(query, new double[] { 2, Double.NaN, Double.NaN, Double.NaN });
        // "zz" is too short.
        assertEquals(List.of(1), respelt.places());
        assertTrue(respelt.searches().get(0).toString().contains("fuzziness=1"), respelt.searches().toString());
        assertTrue(respelt.query().toString().contains("boost=2"), respelt.query().toString());
        assertEquals(4 * 3.0, respelt.attainable(new double[] { 2, Double.NaN, Double.NaN, 0 }, new double[] { 4 }), 1e-12);
        assertTrue(Double.isNaN(respelt.attainable(new double[] { 2, Double.NaN, Double.NaN, 0 }, new double[] { Double.NaN })));
        assertNull(probes.respelt(query, new double[] { 2, 1, Double.NaN, 0 }));
        Map<String, Object> filtered = Queries.json(QueryBuilders.boolQuery().must(QueryBuilders.matchQuery("t", "heaxt")).filter(QueryBuilders.termQuery("x", 1)));
        Probes within = Probes.of(filtered, (text, fields) -> Texts.inWords(text));
        String asked = within.respelt(filtered, new double[] { Double.NaN, 0 }).query().toString();
        assertTrue(asked.contains("fuzziness=1") && asked.contains("term="), asked);
        Map<String, Object> phrase = Queries.json(QueryBuilders.matchPhraseQuery("t", "heaxt"));
        assertNull(Probes.of(phrase, (text, fields) -> Texts.inWords(text)).respelt(phrase, new double[] { Double.NaN, 0 }));
    }

    @Test
    void wordsOfNestedObjectsAreSpeltOtherwiseTogetherInOneOfThem() {
        QueryBuilder words = QueryBuilders.matchQuery("parts.t", "red heaxt red");
        Map<String, Object> query = Queries.json(QueryBuilders.nestedQuery("parts", words, ScoreMode.Max));
        Probes probes = Probes.of(query, (text, fields) -> Texts.inWords(text));
        Map<String, Object> asked = probes.respelt(query, new double[] { 2, Double.NaN, Double.NaN }).query();
        Map<String, Object> bool = Json.object(Json.object(Json.object(asked, "nested"), "query"), "bool");
        List<Map<String, Object>> should = Units.clauses(bool, "should");
        assertEquals(2, should.size());
        assertTrue(should.get(0).toString().contains("boost=2") && should.get(0).toString().contains("nested") == false, should.toString());
        assertTrue(should.get(1).toString().contains("fuzziness=1"), should.toString());
        assertEquals("max", Json.object(asked, "nested").get("score_mode"));
    }

    @Test
    void whereTheBestDocumentHasEveryWordNoMoreIsAttainable() {
        Probes probes = Probes.of(Queries.json(QueryBuilders.matchQuery("t", "a b")), (text, fields) -> Texts.inWords(text));
        assertEquals(2, probes.every().size());
        assertTrue(probes.every().get(0).toString().contains("zero_terms_query=all"));
        assertEquals(3, probes.attainable(new double[] { 2, 2, 3 }, 3), 1e-12);
        assertEquals(4, probes.attainable(new double[] { 2, 2, 2.9 }, 3), 1e-12);
        assertEquals(4, probes.attainable(new double[] { 2, 2, Double.NaN }, 3), 1e-12);
    }

    @Test
    void textsArePartedAsThePythonSideDoes() {
        assertEquals(List.of("a", "b", "c1"), Texts.inWords("a\u00a0b \u2028 -- c1"));
        assertTrue(Texts.spacesPart("naïve Größe अच्छा") && Texts.spacesPart("한국어 말"));
        for (String spaceless : List.of("红色", "ひらがな", "カタカナ", "ภาษาไทย", "a ｶﾅ")) {
            assertTrue(Texts.spacesPart(spaceless) == false, spaceless);
        }
        List<Texts.Place> places = List.of(new Texts.Place(0, 3), new Texts.Place(0, 8), new Texts.Place(4, 8), new Texts.Place(9, 11));
        assertEquals(List.of("fireworks".substring(0, 8), "ab"), Texts.parted(List.of(List.of(), places), "firework ab"));
        assertArrayEquals(new Object[] { "😀".repeat(3) }, new Object[] { Texts.start("😀".repeat(9), 3) });
    }

    @Test
    void fieldsAreAnalysedAsTheMappingSays() {
        Map<String, Object> mapping = Map.of(
            "properties",
            Map.of(
                "title", Map.of("type", "text", "analyzer", "english", "copy_to", "all", "fields", Map.of("raw", Map.of("type", "text", "analyzer", "own"))),
                "all", Map.of("type", "text"),
                "kind", Map.of("type", "keyword"),
                "crosslens", Map.of("properties", Map.of("state", Map.of("type", "text")))
            )
        );
        TextFields fields = TextFields.of("index", mapping, Set.of("index.analysis.analyzer.own.type", "index.number_of_shards"));
        assertEquals(List.of("a", "b"), fields.words("a b", List.of("title^2.0")));
        assertNull(fields.words("a b", List.of("title*")));
        assertNull(fields.words("红", List.of("title")));
        assertEquals(List.of("a b"), fields.words("a b", List.of("kind")));
        assertEquals("own", fields.analyserOf("title.raw"));
        assertEquals(fields.reads(Set.of("title")), fields.reads(Set.of("title.raw^3")));
        assertEquals(2, fields.reads(Set.of("all")).size());
        assertEquals(fields.reads(Set.of("title", "all")), fields.reads(Set.of()));
    }

    @Test
    void wordsSpokenInMomentsAreReadFromTheirFile() {
        Map<String, Object> text = Map.of("type", "text"), moments = Map.of("type", "nested", "properties", Map.of("text", text));
        Map<String, Object> mapping = Map.of(
            "properties",
            Map.of("title", text, "scenes_2", moments, "heard", moments),
            "_meta",
            Map.of(
                "crosslens",
                Map.of(
                    "fields",
                    Map.of(
                        "scenes", Map.of("path", "scenes_2", "modality", "video", "part", "frames", "sources", List.of("footage")),
                        "heard", Map.of("modality", "video", "part", "sound", "sources", List.of("footage"))
                    )
                )
            )
        );
        TextFields fields = TextFields.of("index", mapping, Set.of());
        Set<Sources.Read> spoken = Set.of(new Sources.Read(Sources.CAPTIONS, "footage"));
        assertEquals(spoken, fields.reads(Set.of("scenes_2.text^2", "heard.*")));
        assertEquals(Set.of(new Sources.Read(Sources.TEXT, "title")), fields.reads(Set.of()));
    }
}
