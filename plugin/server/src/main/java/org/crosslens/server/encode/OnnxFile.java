package org.crosslens.server.encode;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BiConsumer;

/**
 * What an ONNX file says of itself, read without loading it: the sizes of its {@code inputs} (0 for one that may vary), and
 * the {@code external} files beside it, relative to its folder, that hold weights of it.
 *
 * <p>ONNX is a protocol buffer; weights are skipped by their length. Field numbers are those of onnx.proto. The Python
 * side does the same, in {@code crosslens.ingest.model.graph}.
 */
record OnnxFile(Map<String, long[]> inputs, Set<String> external) {

    private static final byte[] POINTER = "version https://git-lfs.github.com/spec/".getBytes(StandardCharsets.UTF_8);
    /** By the kind of message, which fields hold messages that lead to tensors. */
    private static final Map<String, Map<Integer, String>> INSIDE = Map.of(
        "model", Map.of(7, "graph", 25, "function"),
        "graph", Map.of(1, "node", 5, "tensor", 15, "sparse"),
        "function", Map.of(7, "node"),
        "node", Map.of(5, "attribute"),
        "attribute", Map.of(5, "tensor", 6, "graph", 10, "tensor", 11, "graph", 22, "sparse", 23, "sparse"),
        "sparse", Map.of(1, "tensor", 2, "tensor")
    );
    private static final int GRAPH = 7, INPUT = 11, EXTERNAL = 13;
    /** Far more than any graph has, and little to hold: what a stranger's graph says of itself. */
    private static final int DEEPEST = 100, LONGEST_TEXT = 4_096, MOST_EXTERNAL = 10_000, MOST_INPUTS = 100, MOST_SIZES = 64;
    /** The largest message that Protocol Buffers knows; larger models keep their weights in external files. */
    private static final long LARGEST = Integer.MAX_VALUE;

    /** Throws {@link ModelException} where {@code file} isn't an ONNX file, or only a pointer to one. */
    static OnnxFile read(Path file) {
        if (isPointer(file)) {
            throw new ModelException(file + " is a Git LFS pointer, not the graph itself; fetch it with git lfs pull");
        }
        OnnxFile read = new OnnxFile(new LinkedHashMap<>(), new TreeSet<>());
        long size = size(file);
        if (size > LARGEST) {
            throw new ModelException(file + " can't be loaded: it has " + size + " bytes, and an ONNX graph has at most " + LARGEST
                + "; export it with external data");
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer data = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size());
            read.tensors(data, "model", 0);
            messages(data, (number, graph) -> {
                if (number == GRAPH) {
                    messages(graph, (field, input) -> {
                        if (field == INPUT) {
                            read.input(input);
                        }
                    });
                }
            });
        } catch (IOException | RuntimeException e) {
            throw new ModelException(file + " isn't an ONNX graph (" + e.getMessage() + "); copy or export the folder again", e);
        }
        return read;
    }

    /** Whether {@code file} is what Git leaves of a large file where Git LFS didn't fetch it. */
    static boolean isPointer(Path file) {
        try (InputStream in = Files.newInputStream(file)) {
            return Arrays.equals(in.readNBytes(POINTER.length), POINTER);
        } catch (IOException e) {
            throw new ModelException(file + " can't be read (" + e.getMessage() + ")", e);
        }
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new ModelException(file + " can't be read (" + e.getMessage() + ")", e);
        }
    }

    private void tensors(ByteBuffer message, String kind, int depth) {
        // As deep as Protocol Buffers themselves go, and not until the stack overflows.
        check(depth < DEEPEST, "it is nested too deeply");
        if (kind.equals("tensor")) {
            messages(message, (number, entry) -> {
                if (number == EXTERNAL) {
                    Map<Integer, String> pair = new HashMap<>();
                    messages(entry, (field, text) -> {
                        if (field == 1 || field == 2) {
                            pair.put(field, text(text));
                        }
                    });
                    if ("location".equals(pair.get(1)) && pair.get(2) != null) {
                        external.add(pair.get(2));
                        check(external.size() <= MOST_EXTERNAL, "it names too many files");
                    }
                }
            });
            return;
        }
        Map<Integer, String> inside = INSIDE.get(kind);
        messages(message, (number, part) -> {
            if (inside.containsKey(number)) {
                tensors(part, inside.get(number), depth + 1);
            }
        });
    }

    private void input(ByteBuffer value) {
        Map<Integer, ByteBuffer> parts = new HashMap<>();
        messages(value, (field, part) -> {
            if (field == 1 || field == 2) {
                parts.put(field, part);
            }
        });
        String name = text(parts.get(1));
        List<Long> sizes = new ArrayList<>();
        if (parts.containsKey(2)) {
            messages(parts.get(2), (tensor, type) -> messages(type, (shape, dimensions) -> {
                if (tensor == 1 && shape == 2) {
                    messages(dimensions, (number, dimension) -> {
                        sizes.add(size(dimension));
                        check(sizes.size() <= MOST_SIZES, "an input has too many dimensions");
                    });
                }
            }));
        }
        check(inputs.size() < MOST_INPUTS, "it has too many inputs");
        inputs.put(name, sizes.stream().mapToLong(Long::longValue).toArray());
    }

    /** A dimension's fixed size, else 0. */
    private static long size(ByteBuffer dimension) {
        ByteBuffer data = dimension.duplicate();
        if (data.hasRemaining() && varint(data) == (1 << 3)) {
            return Math.max(varint(data), 0);
        }
        return 0;
    }

    private static void check(boolean holds, String otherwise) {
        if (holds == false) {
            throw new IllegalArgumentException(otherwise);
        }
    }

    private static String text(ByteBuffer data) {
        check(data == null || data.remaining() <= LONGEST_TEXT, "a name is too long");
        return StandardCharsets.UTF_8.decode(data.duplicate()).toString();
    }

    /** Calls {@code each} with the number and the bytes of every field that holds bytes. */
    private static void messages(ByteBuffer message, BiConsumer<Integer, ByteBuffer> each) {
        ByteBuffer data = message.duplicate();
        while (data.hasRemaining()) {
            long key = varint(data);
            switch ((int) key & 7) {
                case 0 -> varint(data);
                case 1 -> data.position(data.position() + 8);
                case 5 -> data.position(data.position() + 4);
                case 2 -> {
                    int size = Math.toIntExact(varint(data));
                    each.accept((int) (key >>> 3), data.slice(data.position(), size));
                    data.position(data.position() + size);
                }
                default -> throw new IllegalArgumentException("byte " + data.position() + " can't be read");
            }
        }
    }

    private static long varint(ByteBuffer data) {
        long value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            byte next = data.get();
            value |= (long) (next & 0x7F) << shift;
            if (next >= 0) {
                return value;
            }
        }
        throw new IllegalArgumentException("byte " + data.position() + " can't be read");
    }
}
