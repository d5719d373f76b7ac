package org.crosslens.server.documents;

/** A text that can't be encoded, in words for whoever sent it. It is the request's fault: Elasticsearch answers 400. */
public final class TextException extends IllegalArgumentException {

    public TextException(String message) {
        super(message);
    }
}
