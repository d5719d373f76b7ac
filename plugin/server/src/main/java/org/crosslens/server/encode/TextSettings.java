package org.crosslens.server.encode;

/**
 * How texts become token ids: at most {@code length} tokens, padded with {@code padId} on the right or, with
 * {@code left}, on the left; always to the full length when {@code fixed}.
 */
public record TextSettings(int length, long padId, boolean fixed, boolean left) {}
