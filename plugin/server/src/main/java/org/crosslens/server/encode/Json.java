package org.crosslens.server.encode;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.elasticsearch.common.xcontent.XContentHelper;
import org.elasticsearch.xcontent.json.JsonXContent;

/** Reading the JSON files of a model folder. */
final class Json {

    private Json() {}

    /** The JSON object in {@code file}. Throws {@link ModelException} where it is missing or isn't one. */
    static Map<String, Object> read(Path file) {
        try {
            if (Files.exists(file) && OnnxFile.isPointer(file)) {
                throw new ModelException(file + " is a Git LFS pointer, not the file itself; fetch it with git lfs pull");
            }
            String text = Files.readString(file, StandardCharsets.UTF_8);
            return XContentHelper.convertToMap(JsonXContent.jsonXContent, text, true);
        } catch (ModelException e) {
            throw e;
        } catch (NoSuchFileException e) {
            throw new ModelException(file + " is missing: the folder is not a whole model export", e);
        } catch (IOException | RuntimeException e) {
            throw new ModelException(file + " can't be read as a JSON object (" + e.getMessage() + ")", e);
        }
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(Map<String, Object> from, String key) {
        return from.get(key) instanceof Map<?, ?> map ? (Map<String, Object>) map : Map.of();
    }

    static List<?> list(Map<String, Object> from, String key) {
        return from.get(key) instanceof List<?> list ? list : List.of();
    }

    static Number number(Map<String, Object> from, String key) {
        return from.get(key) instanceof Number number ? number : null;
    }

    /** A flag as Python reads it: 0 and null are false. */
    static boolean flag(Map<String, Object> from, String key, boolean otherwise) {
        if (from.containsKey(key) == false) {
            return otherwise;
        }
        Object value = from.get(key);
        return value instanceof Boolean flag ? flag : value instanceof Number number && number.doubleValue() != 0;
    }
}
