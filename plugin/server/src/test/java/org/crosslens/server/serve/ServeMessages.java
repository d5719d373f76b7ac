package org.crosslens.server.serve;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.wire.Message;
import org.crosslens.server.work.Input;

/** What nodes send each other that encode for one another. */
public final class ServeMessages {

    private ServeMessages() {}

    public static List<Message<?>> all() {
        return List.of(
            new Message<>(
                FindMessages.Request.class,
                new FindMessages.Request("clip", false),
                random -> new FindMessages.Request(Message.textOrNull(random), random.nextBoolean()),
                FindMessages.Request::new,
                each -> each.model + " " + each.searching
            ),
            new Message<>(
                FindMessages.Response.class,
                new FindMessages.Response(new Served("clip", "0123456789abcdef", Set.of()), null),
                random -> new FindMessages.Response(
                    random.nextBoolean() ? null : new Served(Message.text(random), Message.text(random), searches(random)),
                    Message.textOrNull(random)
                ),
                FindMessages.Response::read,
                each -> each.problem + (each.served == null ? "" : each.served.name() + " " + each.served.fingerprint() + " " + new TreeSet<>(each.served.searches()))
            ),
            new Message<>(
                EncodeMessages.Request.class,
                new EncodeMessages.Request(
                    "0123",
                    Purpose.ENCODE,
                    Prompts.Role.QUERY,
                    List.of(Input.of("a red heart"), Input.encoded("iVBORw0KGgo="))
                ),
                ServeMessages::request,
                EncodeMessages.Request::new,
                each -> each.fingerprint + each.purpose + each.role + each.inputs.stream().map(input -> input.text() + " " + input.base64()).toList()
            ),
            new Message<>(
                EncodeMessages.Response.class,
                new EncodeMessages.Response(List.of(new float[] { 0.6f, -0.8f }, new float[] { 0, 1 })),
                ServeMessages::response,
                EncodeMessages.Response::read,
                each -> each.vectors == null ? "none" : each.vectors.stream().map(Arrays::toString).toList()
            )
        );
    }

    private static Set<String> searches(Random random) {
        Set<String> searches = new TreeSet<>();
        for (int i = random.nextInt(3); i > 0; i--) {
            searches.add(Message.text(random));
        }
        return searches;
    }

    private static EncodeMessages.Request request(Random random) {
        List<Input> inputs = new ArrayList<>();
        for (int i = random.nextInt(6); i > 0; i--) {
            String content = Message.text(random);
            inputs.add(random.nextBoolean() ? Input.of(content) : Input.encoded(content));
        }
        Purpose[] purposes = Purpose.values();
        Purpose purpose = purposes[random.nextInt(purposes.length)];
        Prompts.Role role = random.nextBoolean() ? Prompts.Role.QUERY : Prompts.Role.PASSAGE;
        return new EncodeMessages.Request(Message.text(random), purpose, role, inputs);
    }

    private static EncodeMessages.Response response(Random random) {
        if (random.nextInt(5) == 0) {
            return new EncodeMessages.Response(null);
        }
        List<float[]> vectors = new ArrayList<>();
        for (int i = random.nextInt(6); i > 0; i--) {
            float[] vector = new float[random.nextInt(20)];
            for (int j = 0; j < vector.length; j++) {
                vector[j] = random.nextFloat() - 0.5f;
            }
            vectors.add(vector);
        }
        return new EncodeMessages.Response(vectors);
    }
}
