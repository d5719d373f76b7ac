package org.crosslens.server.wire;

import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Function;
import org.elasticsearch.common.bytes.BytesArray;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.common.io.stream.BytesStreamOutput;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.Writeable;

/**
 * One kind of message between nodes: an example whose bytes are kept, others at random, how it is read, and what of it must
 * be as it was.
 */
public record Message<T extends Writeable>(
    Class<T> kind,
    T example,
    Function<Random, T> random,
    Writeable.Reader<? extends Writeable> reader,
    Function<T, Object> content
) {

    /** What is written, as bytes. */
    public static byte[] written(Writeable message) throws IOException {
        try (BytesStreamOutput out = new BytesStreamOutput()) {
            message.writeTo(out);
            return BytesReference.toBytes(out.bytes());
        }
    }

    /** The content of what {@code bytes} hold. Throws where some are left over. */
    public Object read(byte[] bytes) throws IOException {
        try (StreamInput in = new BytesArray(bytes).streamInput()) {
            T read = kind.cast(reader.read(in));
            if (in.available() > 0) {
                throw new IllegalStateException(in.available() + " bytes are left");
            }
            return content.apply(read);
        }
    }

    /** A text of letters of several scripts. */
    public static String text(Random random) {
        return random.ints(random.nextInt(40), 32, 0x3000).collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append).toString();
    }

    /** Return null one time in three. */
    public static String textOrNull(Random random) {
        return random.nextInt(3) == 0 ? null : text(random);
    }

    /** As many texts. */
    public static String[] texts(Random random, int count) {
        String[] texts = new String[count];
        Arrays.setAll(texts, i -> text(random));
        return texts;
    }
}
