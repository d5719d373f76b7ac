package org.crosslens.server.words;

import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import org.crosslens.server.fusion.Sources;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.cluster.metadata.IndexMetadata;
import org.elasticsearch.common.cache.Cache;
import org.elasticsearch.common.cache.CacheBuilder;
import org.elasticsearch.common.regex.Regex;

/**
 * The text fields of the indices that a search reads, and how they are analysed, as far as it decides what the words of a
 * query are: the Python package's {@code crosslens.queries.analysis}, and {@code copies} of {@code sources}.
 */
public final class TextFields {

    private static final Set<String> FULL_TEXT = Set.of("text", "match_only_text", "search_as_you_type", "annotated_text");
    private static final Set<String> SEARCHED = Set.of("text", "match_only_text", "search_as_you_type");
    private static final String OWN = "crosslens.";
    /** Elasticsearch's own analysers that part words where spaces are; scripts without spaces are looked at apart. */
    private static final Set<String> AT_SPACES = Set.of(
        ("standard simple whitespace stop cjk thai arabic armenian basque bengali brazilian bulgarian catalan czech danish "
            + "dutch english estonian finnish french galician german greek hindi hungarian indonesian irish italian latvian "
            + "lithuanian norwegian persian portuguese romanian russian serbian sorani spanish swedish turkish").split(" ")
    );
    private static final String ANALYSERS = "index.analysis.analyzer.";
    private static final List<String> DEFAULTS = List.of("default_search", "default");

    private record Key(String index, long mappingVersion, long settingsVersion) {}

    /**
     * What one index says: by full-text field its analyser; those that it parts at spaces; those that a search reads where
     * it names none; by field the fields whose words it holds; and by field of captions the field that refers to the file.
     */
    private record OfIndex(
        Map<String, String> analysers,
        Set<String> atSpaces,
        Set<String> searched,
        Map<String, Set<String>> copies,
        Map<String, String> captions
    ) {}

    private static final Cache<Key, OfIndex> CACHE = CacheBuilder.<Key, OfIndex>builder().setMaximumWeight(1_000).build();

    // By full-text field, of the first index that has it.
    private final Map<String, String> index = new LinkedHashMap<>();
    private final Map<String, String> analyser = new HashMap<>();
    private final Set<String> atSpaces = new HashSet<>();
    private final Set<String> searched = new LinkedHashSet<>();
    private final Map<String, Set<String>> copies = new HashMap<>();
    private final Map<String, String> captions = new HashMap<>();

    private TextFields() {}

    /** Those of the indices of this cluster, which may be null. */
    public static TextFields of(ResolvedIndices indices) {
        TextFields fields = new TextFields();
        if (indices != null) {
            indices.getConcreteLocalIndicesMetadata()
                .values()
                .stream()
                .filter(each -> each.mapping() != null)
                .sorted(Comparator.comparing(each -> each.getIndex().getName()))
                .forEach(fields::add);
        }
        return fields;
    }

    private void add(IndexMetadata metadata) {
        Key key = new Key(metadata.getIndexUUID(), metadata.getMappingVersion(), metadata.getSettingsVersion());
        OfIndex known = CACHE.get(key);
        if (known == null) {
            known = read(metadata.mapping().sourceAsMap(), metadata.getSettings().keySet());
            CACHE.put(key, known);
        }
        add(metadata.getIndex().getName(), known);
    }

    private void add(String name, OfIndex said) {
        said.analysers.forEach((path, its) -> {
            if (index.putIfAbsent(path, name) == null) {
                analyser.put(path, its);
                if (said.atSpaces.contains(path)) {
                    atSpaces.add(path);
                }
            }
        });
        searched.addAll(said.searched);
        said.captions.forEach(captions::putIfAbsent);
        said.copies.forEach((path, origins) -> copies.computeIfAbsent(path, each -> new HashSet<>()).addAll(origins));
    }

    /** Of one index, by its mapping and the names of its settings. */
    static TextFields of(String name, Map<String, Object> mapping, Set<String> settings) {
        TextFields fields = new TextFields();
        fields.add(name, read(mapping, settings));
        return fields;
    }

    private static OfIndex read(Map<String, Object> mapping, Set<String> settings) {
        Set<String> own = new HashSet<>();
        for (String setting : settings) {
            if (setting.startsWith(ANALYSERS)) {
                own.add(setting.substring(ANALYSERS.length()).split("\\.", 2)[0]);
            }
        }
        String otherwise = DEFAULTS.stream().filter(own::contains).findFirst().orElse("standard");
        OfIndex said = new OfIndex(new LinkedHashMap<>(), new HashSet<>(), new LinkedHashSet<>(), new HashMap<>(), captions(mapping));
        walk(Json.object(mapping, "properties"), "", (path, definition) -> {
            Object type = definition.get("type");
            if (FULL_TEXT.contains(String.valueOf(type))) {
                Object its = definition.getOrDefault("search_analyzer", definition.getOrDefault("analyzer", otherwise));
                said.analysers.put(path, its.toString());
                if (AT_SPACES.contains(its) && own.contains(its) == false) {
                    said.atSpaces.add(path);
                }
            }
            if (SEARCHED.contains(String.valueOf(type)) && path.startsWith(OWN) == false && said.captions.containsKey(path) == false) {
                said.searched.add(path);
            }
            for (String name : Json.object(definition, "fields").keySet()) {
                said.copies.computeIfAbsent(path + "." + name, each -> new HashSet<>()).add(path);
            }
            Object into = definition.get("copy_to");
            for (Object target : into instanceof List<?> several ? several : into == null ? List.of() : List.of(into)) {
                said.copies.computeIfAbsent(target.toString(), each -> new HashSet<>(Set.of(each))).add(path);
            }
        });
        return said;
    }

    /** The text fields of the moments of sounds and footage, each with the field that refers to the file. */
    private static Map<String, String> captions(Map<String, Object> mapping) {
        Map<String, String> captions = new HashMap<>();
        Map<String, Object> fields = Json.object(Json.object(Json.object(mapping, "_meta"), "crosslens"), "fields");
        for (String name : fields.keySet()) {
            Map<String, Object> entry = Json.object(fields, name);
            boolean timed = "audio".equals(entry.get("modality")) || "video".equals(entry.get("modality"));
            if (timed && entry.get("sources") instanceof List<?> sources && sources.isEmpty() == false) {
                captions.put(entry.getOrDefault("path", name) + ".text", String.valueOf(sources.get(0)));
            }
        }
        return captions;
    }

    /** Every mapped field by its dotted path, objects and multi-fields included. */
    private static void walk(Map<String, Object> properties, String prefix, BiConsumer<String, Map<String, Object>> see) {
        for (String name : properties.keySet()) {
            Map<String, Object> definition = Json.object(properties, name);
            see.accept(prefix + name, definition);
            walk(Json.object(definition, "properties"), prefix + name + ".", see);
            walk(Json.object(definition, "fields"), prefix + name + ".", see);
        }
    }

    /** The full-text fields that names with wildcards and boosts, as a query has them, stand for; none: all. */
    List<String> named(List<String> fields) {
        List<String> patterns = fields.isEmpty() ? List.of("*") : fields.stream().map(TextFields::unboosted).toList();
        return index.keySet().stream().filter(path -> patterns.stream().anyMatch(each -> Regex.simpleMatch(each, path))).toList();
    }

    /** Whether nothing is known of the indices, as of those of another cluster. */
    boolean isUnknown() {
        return index.isEmpty();
    }

    /** The words of a text as these fields read it, or null where only the server knows. */
    List<String> words(String text, List<String> fields) {
        List<String> known = named(fields);
        if (known.isEmpty()) {
            // Of keywords, numbers and dates the whole text is one value.
            return Texts.split(text).isEmpty() ? List.of() : List.of(text);
        }
        return Texts.spacesPart(text) && atSpaces.containsAll(known) ? Texts.inWords(text) : null;
    }

    /** The index to ask for how a full-text field parts a text. */
    String indexOf(String path) {
        return index.get(path);
    }

    /** The name of a full-text field's search analyser. */
    String analyserOf(String path) {
        return analyser.get(path);
    }

    /** What a query over {@code fields} reads, some of which hold others' words; none: all text fields. */
    public Set<Sources.Read> reads(Set<String> fields) {
        Set<Sources.Read> reads = new HashSet<>();
        for (String field : fields.isEmpty() ? searched : fields) {
            String name = unboosted(field);
            for (String path : name.contains("*") ? named(List.of(name)) : List.of(name)) {
                if (captions.containsKey(path)) {
                    reads.add(new Sources.Read(Sources.CAPTIONS, captions.get(path)));
                    continue;
                }
                copies.getOrDefault(path, Set.of(path)).forEach(origin -> reads.add(new Sources.Read(Sources.TEXT, origin)));
            }
        }
        return reads;
    }

    private static String unboosted(String field) {
        return field.split("\\^", 2)[0];
    }
}
