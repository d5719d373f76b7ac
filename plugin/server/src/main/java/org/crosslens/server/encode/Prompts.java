package org.crosslens.server.encode;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * What a text model wants in front of a query, and in front of a text that is searched, as sentence-transformers'
 * config_sentence_transformers.json says; the Python side reads the same.
 */
public record Prompts(String query, String passage) {

    /** What a text is for. */
    public enum Role {
        PASSAGE,
        QUERY
    }

    static final String FILE = "config_sentence_transformers.json";
    static final Prompts NONE = new Prompts("", "");
    private static final String[] PASSAGE = { "document", "passage", "corpus" };

    /** The prompt of a text in its {@code role}. */
    public String of(Role role) {
        return role == Role.QUERY ? query : passage;
    }

    /** Both in one line, as the fingerprint of a folder without a manifest hashes them. */
    byte[] line() {
        return (query + "\0" + passage).getBytes(StandardCharsets.UTF_8);
    }

    /** Reads the prompts of a model folder, none where it has no such file. Throws {@link ModelException}. */
    static Prompts read(Path folder) {
        Path file = folder.resolve(FILE);
        if (Files.exists(file) == false) {
            return NONE;
        }
        Map<String, Object> stated = Json.read(file);
        Object listed = stated.get("prompts"), named = stated.get("default_prompt_name");
        Map<String, Object> prompts = Json.object(stated, "prompts");
        boolean texts = prompts.values().stream().allMatch(each -> each == null || each instanceof String);
        if (texts == false || listed != null && listed instanceof Map == false) {
            throw new ModelException(file + ": prompts must be texts by name, not " + listed);
        }
        if (named != null && prompts.containsKey(named) == false) {
            throw new ModelException(file + ": the default prompt [" + named + "] isn't among " + prompts.keySet());
        }
        String usual = named != null && prompts.get(named) instanceof String text ? text : "", passage = usual;
        for (int i = PASSAGE.length - 1; i >= 0; i--) {
            passage = prompts.get(PASSAGE[i]) instanceof String text ? text : passage;
        }
        return new Prompts(prompts.get("query") instanceof String text ? text : usual, passage);
    }
}
