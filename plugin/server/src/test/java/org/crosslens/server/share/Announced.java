package org.crosslens.server.share;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.Sha256;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.json.JsonXContent;

/** Models as an honest client announces them. */
final class Announced {

    private Announced() {}

    /** The manifest of {@code files} by their names, in the map's order. */
    static Manifest of(String name, String fingerprint, Map<String, byte[]> files) {
        List<Manifest.Content> contents = new ArrayList<>();
        files.forEach((file, bytes) -> contents.add(new Manifest.Content(file, bytes.length, Sha256.of(bytes))));
        return new Manifest(name, fingerprint, contents, parts(files).stream().map(Sha256::of).toList());
    }

    /** The files' bytes, one after the other, in parts. */
    static List<byte[]> parts(Map<String, byte[]> files) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        files.values().forEach(all::writeBytes);
        byte[] bytes = all.toByteArray();
        List<byte[]> parts = new ArrayList<>();
        for (int at = 0; at < bytes.length; at += Manifest.PART_BYTES) {
            parts.add(Arrays.copyOfRange(bytes, at, Math.min(at + Manifest.PART_BYTES, bytes.length)));
        }
        return parts;
    }

    /** Reads what a client says. */
    static Manifest read(String name, String json, long most) throws IOException {
        try (XContentParser parser = JsonXContent.jsonXContent.createParser(XContentParserConfiguration.EMPTY, json)) {
            return Manifest.read(name, parser, most);
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
