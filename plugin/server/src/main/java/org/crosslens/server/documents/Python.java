package org.crosslens.server.documents;

import java.io.ByteArrayOutputStream;
import java.math.BigDecimal;
import java.math.MathContext;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Strings and numbers as Python writes them, wherever a document's hash depends on it: the Python side and this plugin
 * must take the same document for unchanged.
 */
final class Python {

    private Python() {}

    /** Whether {@code str.isspace} holds, which Java's {@code Character.isWhitespace} differs from. */
    static boolean isSpace(char c) {
        return c >= '\t' && c <= '\r'
            || c >= 0x1C && c <= ' '
            || c == 0x85
            || c == 0xA0
            || c == 0x1680
            || c >= 0x2000 && c <= 0x200A
            || c == 0x2028
            || c == 0x2029
            || c == 0x202F
            || c == 0x205F
            || c == 0x3000;
    }

    /** {@code str.strip()}. */
    static String strip(String text) {
        int start = 0, end = text.length();
        while (start < end && isSpace(text.charAt(start))) {
            start++;
        }
        while (end > start && isSpace(text.charAt(end - 1))) {
            end--;
        }
        return text.substring(start, end);
    }

    /** {@code re.sub(r"\s+", " ", text)}. */
    static String collapse(String text) {
        StringBuilder collapsed = new StringBuilder(text.length());
        boolean space = false;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (isSpace(c) == false) {
                collapsed.append(c);
            } else if (space == false) {
                collapsed.append(' ');
            }
            space = isSpace(c);
        }
        return collapsed.toString();
    }

    /** {@code json.dumps} of a number or boolean that JSON held. */
    static String json(Object value) {
        if (value instanceof Double || value instanceof Float) {
            return repr(((Number) value).doubleValue());
        }
        return value.toString();
    }

    /** {@code repr(float)}: the shortest digits, with an exponent below 1e-4 and from 1e16. */
    private static String repr(double value) {
        if (Double.isNaN(value)) {
            return "NaN";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "Infinity" : "-Infinity";
        }
        if (value == 0) {
            return 1 / value < 0 ? "-0.0" : "0.0";
        }
        BigDecimal decimal = new BigDecimal(shortest(value)).stripTrailingZeros();
        String digits = decimal.unscaledValue().abs().toString(), sign = value < 0 ? "-" : "";
        int exponent = digits.length() - decimal.scale() - 1;
        if (exponent < -4 || exponent >= 16) {
            String fraction = digits.length() > 1 ? "." + digits.substring(1) : "";
            String power = Math.abs(exponent) < 10 ? "0" + Math.abs(exponent) : "" + Math.abs(exponent);
            return sign + digits.charAt(0) + fraction + "e" + (exponent < 0 ? "-" : "+") + power;
        }
        String plain = decimal.abs().toPlainString();
        return sign + (plain.contains(".") ? plain : plain + ".0");
    }

    /** The shortest decimal that reads back as {@code value}; Java before 19 sometimes writes a longer one. */
    private static String shortest(double value) {
        for (int digits = 1; digits < 17; digits++) {
            String text = new BigDecimal(value).round(new MathContext(digits)).toString();
            if (Double.parseDouble(text) == value) {
                return text;
            }
        }
        return Double.toString(value);
    }

    /** {@code json.dumps(values, ensure_ascii=False)}. */
    static String json(List<String> values) {
        StringBuilder out = new StringBuilder("[");
        for (String value : values) {
            out.append(out.length() > 1 ? ", \"" : "\"");
            for (int i = 0; i < value.length(); i++) {
                char c = value.charAt(i);
                switch (c) {
                    case '"' -> out.append("\\\"");
                    case '\\' -> out.append("\\\\");
                    case '\n' -> out.append("\\n");
                    case '\r' -> out.append("\\r");
                    case '\t' -> out.append("\\t");
                    case '\f' -> out.append("\\f");
                    case '\b' -> out.append("\\b");
                    default -> {
                        if (c < 0x20) {
                            out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
                        } else {
                            out.append(c);
                        }
                    }
                }
            }
            out.append('"');
        }
        return out.append(']').toString();
    }

    /** {@code json.dumps(value)} of what JSON held. */
    static String dumps(Object value) {
        StringBuilder out = new StringBuilder();
        dump(value, out);
        return out.toString();
    }

    private static void dump(Object value, StringBuilder out) {
        if (value instanceof String text) {
            // All but printable ASCII is escaped.
            String quoted = json(List.of(text));
            quoted.substring(1, quoted.length() - 1).chars().forEach(c -> {
                if (c < 0x7F) {
                    out.append((char) c);
                } else {
                    out.append(String.format(Locale.ROOT, "\\u%04x", c));
                }
            });
        } else if (value instanceof List<?> list) {
            out.append('[');
            for (int i = 0; i < list.size(); i++) {
                out.append(i > 0 ? ", " : "");
                dump(list.get(i), out);
            }
            out.append(']');
        } else if (value instanceof Map<?, ?> map) {
            out.append('{');
            String comma = "";
            for (Map.Entry<?, ?> each : map.entrySet()) {
                out.append(comma);
                dump(each.getKey(), out);
                out.append(": ");
                dump(each.getValue(), out);
                comma = ", ";
            }
            out.append('}');
        } else {
            out.append(value == null ? "null" : json(value));
        }
    }

    private static boolean isWellFormed(String text) {
        for (int i = 0; i < text.length(); i++) {
            if (Character.isSurrogate(text.charAt(i))) {
                if (Character.isSurrogatePair(text.charAt(i), i + 1 < text.length() ? text.charAt(i + 1) : 0) == false) {
                    return false;
                }
                i++;
            }
        }
        return true;
    }

    /** {@code text.encode("utf-8", "surrogatepass")}: half a surrogate pair becomes three bytes, not a question mark. */
    static byte[] utf8(String text) {
        if (isWellFormed(text)) {
            return text.getBytes(StandardCharsets.UTF_8);
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream(text.length() + 16);
        text.codePoints().forEach(c -> {
            if (c < 0x80) {
                out.write(c);
            } else if (c < 0x800) {
                out.write(0xC0 | c >> 6);
                out.write(0x80 | c & 0x3F);
            } else if (c < 0x10000) {
                out.write(0xE0 | c >> 12);
                out.write(0x80 | c >> 6 & 0x3F);
                out.write(0x80 | c & 0x3F);
            } else {
                out.write(0xF0 | c >> 18);
                out.write(0x80 | c >> 12 & 0x3F);
                out.write(0x80 | c >> 6 & 0x3F);
                out.write(0x80 | c & 0x3F);
            }
        });
        return out.toByteArray();
    }
}
