package org.crosslens.server.encode;

/** An upright, opaque picture: {@code rgb} has three bytes a pixel, row after row. */
public record Picture(int width, int height, byte[] rgb) {}
