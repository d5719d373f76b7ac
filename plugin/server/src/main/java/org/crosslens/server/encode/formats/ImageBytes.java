package org.crosslens.server.encode.formats;

import java.io.IOException;
import javax.imageio.stream.ImageInputStreamImpl;

/**
 * Presents a file in memory to a decoder without copying it: {@code head} replaces its first bytes, then come the rest of
 * {@code data} and {@code tail}. Each read first checks whether the decoder may go on: a small file can cause much work,
 * and native decoders return to Java only to read more.
 */
final class ImageBytes extends ImageInputStreamImpl {

    private final byte[] head;
    private final byte[] data;
    private final byte[] tail;
    private final Runnable check;

    ImageBytes(byte[] data, Runnable check) {
        this(new byte[0], data, new byte[0], check);
    }

    ImageBytes(byte[] head, byte[] data, byte[] tail, Runnable check) {
        this.head = head;
        this.data = data;
        this.tail = tail;
        this.check = check;
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] into, int offset, int most) throws IOException {
        checkClosed();
        check.run();
        bitOffset = 0;
        if (streamPos >= length()) {
            return -1;
        }
        byte[] from = streamPos < head.length ? head : streamPos < data.length ? data : tail;
        int at = (int) (from == tail ? streamPos - data.length : streamPos);
        int count = Math.min(most, from.length - at);
        System.arraycopy(from, at, into, offset, count);
        streamPos += count;
        return count;
    }

    @Override
    public long length() {
        return (long) data.length + tail.length;
    }
}
