package org.crosslens.server.work;

/** A name that means none of this node's models. An argument's fault, unless another node has it. */
public final class NoModelException extends IllegalArgumentException {

    NoModelException(String message) {
        super(message);
    }
}
