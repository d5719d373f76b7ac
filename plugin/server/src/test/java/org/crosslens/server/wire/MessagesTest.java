package org.crosslens.server.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.Modifier;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.crosslens.server.CrosslensPlugin;
import org.crosslens.server.Golden;
import org.crosslens.server.action.ActionMessages;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.ModelException;
import org.crosslens.server.search.SearchMessages;
import org.crosslens.server.serve.ServeMessages;
import org.crosslens.server.share.ShareMessages;
import org.elasticsearch.ExceptionsHelper;
import org.elasticsearch.common.bytes.BytesArray;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.common.io.stream.BytesStreamOutput;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.Writeable;
import org.elasticsearch.common.logging.LogConfigurator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Whatever nodes send each other arrives as it was, from this version of the plugin, an older or a newer one. */
class MessagesTest {

    private static final int TIMES = 300;
    /** Requests and answers that the node that was asked keeps to itself. */
    private static final Set<String> STAY = Set.of(
        "action.EncodeAction$Request",
        "action.EncodeAction$Response",
        "action.InfoAction$Request",
        "action.InfoAction$Response",
        "action.ModelAction$Request",
        "action.ModelAction$Response",
        // Thrown and caught on one node.
        "work.Memory$Crowded"
    );

    @BeforeAll
    static void configureLogging() {
        // Exceptions of Elasticsearch and its nodes' addresses can't be made without.
        LogConfigurator.configureESLogging();
    }

    private static List<Message<?>> messages() {
        return Stream.of(ActionMessages.all(), SearchMessages.all(), ServeMessages.all(), ShareMessages.all()).flatMap(List::stream).collect(Collectors.toList());
    }

    private static String name(Class<?> kind) {
        return kind.getName().replace("org.crosslens.server.", "");
    }

    @Test
    void everyWriteableIsAmongTheMessagesHere() throws IOException, URISyntaxException, ReflectiveOperationException {
        Path classes = Path.of(CrosslensPlugin.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        Set<String> writeables = new TreeSet<>();
        try (Stream<Path> files = Files.walk(classes)) {
            for (Path file : files.filter(each -> each.toString().endsWith(".class")).toList()) {
                String name = classes.relativize(file).toString().replace(File.separatorChar, '.').replaceAll("\\.class$", "");
                Class<?> found = Class.forName(name, false, CrosslensPlugin.class.getClassLoader());
                if (Writeable.class.isAssignableFrom(found) && Modifier.isAbstract(found.getModifiers()) == false) {
                    writeables.add(name(found));
                }
            }
        }
        Set<String> here = new TreeSet<>(STAY);
        messages().forEach(each -> here.add(name(each.kind())));
        here.add(name(ModelException.class));
        assertEquals(here, writeables);
    }

    @Test
    void whateverIsInThemArrives() throws IOException {
        for (Message<?> each : messages()) {
            for (int seed = 0; seed < TIMES; seed++) {
                arrives(each, seed);
            }
        }
    }

    private static <T extends Writeable> void arrives(Message<T> message, int seed) throws IOException {
        T sent = message.random().apply(new Random(seed));
        assertEquals(message.content().apply(sent), message.read(Message.written(sent)), name(message.kind()) + ", seed " + seed);
    }

    /** Where in a message Elasticsearch's own part ends: from there on, a counted rest is all that there is. */
    private static int header(byte[] message) throws IOException {
        for (int at = 0; at < message.length - 2; at++) {
            try (StreamInput in = new BytesArray(message, at, message.length - at).streamInput()) {
                if (in.readVInt() == Wire.VERSION && in.readVInt() == 1 && in.readVInt() == in.available()) {
                    return at;
                }
            } catch (IOException | RuntimeException e) {
                continue;
            }
        }
        throw new AssertionError("the message has no version: " + HexFormat.of().formatHex(message));
    }

    /** The message as a plugin of {@code version} would write it, with more after the fields that this one knows. */
    private static byte[] byNewer(byte[] message, int version, int oldest) throws IOException {
        int at = header(message);
        try (
            BytesStreamOutput out = new BytesStreamOutput();
            StreamInput in = new BytesArray(message, at, message.length - at).streamInput()
        ) {
            in.readVInt();
            in.readVInt();
            byte[] fields = in.readByteArray(), more = "what a newer version adds".getBytes(StandardCharsets.UTF_8);
            out.writeBytes(message, 0, at);
            out.writeVInt(version);
            out.writeVInt(oldest);
            out.writeVInt(fields.length + more.length);
            out.writeBytes(fields);
            out.writeBytes(more);
            return BytesReference.toBytes(out.bytes());
        }
    }

    @Test
    void whatANewerVersionAddsIsSkipped() throws IOException {
        for (Message<?> each : messages()) {
            byte[] newer = byNewer(Message.written(each.example()), Wire.VERSION + 1, 1);
            assertEquals(each.read(Message.written(each.example())), each.read(newer), name(each.kind()));
        }
    }

    @Test
    void whatOnlyANewerVersionUnderstandsIsRefusedWithASentence() throws IOException {
        for (Message<?> each : messages()) {
            byte[] newer = byNewer(Message.written(each.example()), Wire.VERSION + 2, Wire.VERSION + 1);
            Exception refused = assertThrows(IllegalArgumentException.class, () -> each.read(newer), name(each.kind()));
            assertTrue(refused.getMessage().endsWith("install one version on all nodes"), refused.getMessage());
            assertTrue(refused.getMessage().contains("readable since version " + (Wire.VERSION + 1)), refused.getMessage());
        }
    }

    /** {@code tests/golden/wire/VERSION.txt}: written by {@code -Dcrosslens.wire.write=FILE}, for a new version; the files of older ones stay as they are. */
    @Test
    void theBytesOfEveryVersionAreStillRead() throws IOException {
        Map<String, Message<?>> kinds = messages().stream().collect(Collectors.toMap(each -> name(each.kind()), each -> each));
        Map<String, String> now = new TreeMap<>();
        for (Map.Entry<String, Message<?>> each : kinds.entrySet()) {
            byte[] written = Message.written(each.getValue().example());
            now.put(each.getKey(), HexFormat.of().formatHex(written, header(written), written.length));
        }
        String write = System.getProperty("crosslens.wire.write");
        if (write != null) {
            Files.write(Path.of(write), now.entrySet().stream().map(each -> each.getKey() + " " + each.getValue()).toList());
        }
        for (int version = 1; version <= Wire.VERSION; version++) {
            Map<String, String> kept = kept(version);
            if (version == Wire.VERSION) {
                assertEquals(kept, now, "a change of what is written is a new version");
            }
            for (Map.Entry<String, String> each : kept.entrySet()) {
                Message<?> message = kinds.get(each.getKey());
                byte[] written = Message.written(message.example());
                ByteArrayOutputStream older = new ByteArrayOutputStream();
                older.write(written, 0, header(written));
                older.write(HexFormat.of().parseHex(each.getValue()));
                assertEquals(message.read(written), message.read(older.toByteArray()), each.getKey() + " of version " + version);
            }
        }
    }

    private static Map<String, String> kept(int version) throws IOException {
        Map<String, String> kept = new TreeMap<>();
        for (String line : Files.readAllLines(Golden.folder().resolve("wire").resolve(version + ".txt"))) {
            String[] words = line.split(" ");
            kept.put(words[0], words[1]);
        }
        return kept;
    }

    @Test
    void errorsArriveWithTheirSentenceAndStatus() throws IOException {
        // Elasticsearch carries errors in a form of its own.
        for (Exception each : List.of(new ModelException("the model [clip] can't be read"), new ImageException("not an image"))) {
            try (BytesStreamOutput out = new BytesStreamOutput()) {
                out.writeException(each);
                Exception read = out.bytes().streamInput().readException();
                assertEquals(ExceptionsHelper.status(each), ExceptionsHelper.status(read));
                assertTrue(read.getMessage().endsWith(each.getMessage()), read.getMessage());
            }
        }
    }
}
