package org.crosslens.server.documents;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * How text sources are put together, as in {@code {title} by {brand}}; two braces stand for one. The syntax is that of
 * Python's format strings, of which only names are understood.
 */
public final class Template {

    /** A piece of text, or the name of a source. */
    private record Piece(String text, boolean source) {}

    private final List<Piece> pieces = new ArrayList<>();

    /** Throws {@link IllegalArgumentException} where {@code template} can't be read. */
    public Template(String template) {
        StringBuilder literal = new StringBuilder();
        for (int i = 0; i < template.length(); i++) {
            char c = template.charAt(i);
            if ((c == '{' || c == '}') && i + 1 < template.length() && template.charAt(i + 1) == c) {
                literal.append(c);
                i++;
            } else if (c == '{') {
                int end = template.indexOf('}', i);
                String name = end < 0 ? "" : template.substring(i + 1, end);
                if (name.isEmpty() || name.matches(".*[{!:].*")) {
                    throw new IllegalArgumentException("the template [" + template + "] can't be read; write {field}");
                }
                pieces.add(new Piece(literal.toString(), false));
                pieces.add(new Piece(name, true));
                literal.setLength(0);
                i = end;
            } else if (c == '}') {
                throw new IllegalArgumentException("the template [" + template + "] has a } without a {; write {field}");
            } else {
                literal.append(c);
            }
        }
        pieces.add(new Piece(literal.toString(), false));
    }

    /** The sources named, each once, in order. */
    public List<String> sources() {
        return pieces.stream().filter(Piece::source).map(Piece::text).distinct().toList();
    }

    String fill(Map<String, String> values) {
        StringBuilder filled = new StringBuilder();
        pieces.forEach(piece -> filled.append(piece.source() ? values.get(piece.text()) : piece.text()));
        return Python.strip(Python.collapse(filled.toString()));
    }
}
