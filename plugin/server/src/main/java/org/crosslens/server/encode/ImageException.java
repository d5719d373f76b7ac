package org.crosslens.server.encode;

/** An image that can't be encoded, and why. An argument's fault: REST answers 400. */
public final class ImageException extends IllegalArgumentException {

    public ImageException(String message) {
        super(message);
    }

    public ImageException(String message, Throwable cause) {
        super(message, cause);
    }
}
