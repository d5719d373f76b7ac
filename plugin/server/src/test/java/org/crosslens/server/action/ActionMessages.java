package org.crosslens.server.action;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.crosslens.server.wire.Message;
import org.elasticsearch.cluster.node.DiscoveryNode;
import org.elasticsearch.cluster.node.VersionInformation;
import org.elasticsearch.common.transport.TransportAddress;

/** What the plugin's actions send between nodes. */
public final class ActionMessages {

    private static final DiscoveryNode NODE = new DiscoveryNode(
        "one",
        "id",
        new TransportAddress(TransportAddress.META_ADDRESS, 9300),
        Map.of(),
        Set.of(),
        VersionInformation.CURRENT
    );

    private ActionMessages() {}

    public static List<Message<?>> all() {
        return List.of(
            new Message<>(InfoAction.NodeRequest.class, new InfoAction.NodeRequest(), random -> new InfoAction.NodeRequest(), InfoAction.NodeRequest::new, each -> ""),
            new Message<>(
                InfoAction.NodeResponse.class,
                new InfoAction.NodeResponse(NODE, Map.of("models", List.of(Map.of("dims", 512)))),
                random -> new InfoAction.NodeResponse(NODE, map(random, 0)),
                in -> new InfoAction.NodeResponse(in, NODE),
                each -> each.answer
            )
        );
    }

    private static Map<String, Object> map(Random random, int depth) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = random.nextInt(6); i > 0; i--) {
            map.put(Message.text(random), switch (random.nextInt(depth < 3 ? 6 : 4)) {
                case 0 -> random.nextLong();
                case 1 -> random.nextBoolean();
                case 2 -> Message.textOrNull(random);
                case 3 -> random.nextDouble();
                case 4 -> List.of(random.nextInt(), Message.text(random));
                default -> map(random, depth + 1);
            });
        }
        return map;
    }

}
