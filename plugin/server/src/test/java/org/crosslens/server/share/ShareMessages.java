package org.crosslens.server.share;

import java.util.List;
import org.crosslens.server.wire.Message;

/** What nodes send each other about models that the cluster has been given. */
public final class ShareMessages {

    private ShareMessages() {}

    public static List<Message<?>> all() {
        return List.of(
            new Message<>(
                SyncMessages.Request.class,
                new SyncMessages.Request("clip", true),
                random -> new SyncMessages.Request(Message.text(random), random.nextBoolean()),
                SyncMessages.Request::new,
                each -> each.name + " " + each.sync
            ),
            new Message<>(
                SyncMessages.Response.class,
                new SyncMessages.Response(Standing.OWN, "it was put there by hand"),
                random -> new SyncMessages.Response(
                    Standing.values()[random.nextInt(Standing.values().length)],
                    Message.textOrNull(random)
                ),
                SyncMessages.Response::read,
                each -> each.standing + " " + each.reason
            )
        );
    }
}
