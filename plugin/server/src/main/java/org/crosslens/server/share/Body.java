package org.crosslens.server.share;

import java.io.IOException;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.common.xcontent.XContentHelper;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.XContentType;

/** What a client sends about a model: an announcement, or {@code {"data": "BASE64"}} for a part. */
public record Body(BytesReference content, XContentType type) {

    private static final int LONGEST = 4 * Manifest.PART_BYTES;

    /** The length in bytes. Throws 413 for one that is longer than anything that is read. */
    int length() {
        if (content.length() > LONGEST) {
            throw new ElasticsearchStatusException(
                "the request has {} bytes, more than the {} that one for a model may have",
                RestStatus.REQUEST_ENTITY_TOO_LARGE,
                content.length(),
                LONGEST
            );
        }
        return content.length();
    }

    /** Reads an announcement, as {@link Manifest#read} does. */
    Manifest manifest(String name, long most) throws IOException {
        try (XContentParser parser = parser()) {
            return Manifest.read(name, parser, most);
        }
    }

    /** Reads a part's bytes. Throws {@link IllegalArgumentException} for anything else. */
    byte[] data() {
        byte[] bytes = null;
        Exception cause = null;
        try (XContentParser parser = parser()) {
            boolean begins = parser.nextToken() == XContentParser.Token.START_OBJECT
                && parser.nextToken() == XContentParser.Token.FIELD_NAME
                && parser.currentName().equals("data")
                && parser.nextToken() != XContentParser.Token.VALUE_NULL;
            byte[] read = begins ? parser.binaryValue() : null;
            bytes = parser.nextToken() == XContentParser.Token.END_OBJECT ? read : null;
        } catch (IOException | IllegalArgumentException e) {
            // The parser's own exceptions are of both kinds.
            cause = e;
        }
        if (bytes == null) {
            throw new IllegalArgumentException("a part of a model is sent as {\"data\": \"BASE64\"}", cause);
        }
        return bytes;
    }

    private XContentParser parser() throws IOException {
        return XContentHelper.createParserNotCompressed(XContentParserConfiguration.EMPTY, content, type);
    }
}
