package org.crosslens.server.share;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.function.Consumer;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.wire.Peers;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.settings.Setting;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.unit.ByteSizeValue;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.indices.SystemIndexDescriptor;
import org.elasticsearch.threadpool.ThreadPool;

/** How shared models are set up on a node: its settings, its folder, and the cluster's index. */
public final class Shared {

    private static final Logger LOG = LogManager.getLogger(Shared.class);
    private static final TimeValue TICK = TimeValue.timeValueSeconds(2);

    /** Whether the node takes models from clients, and those that the cluster has been given. */
    private static final Setting<Boolean> UPLOAD = Setting.boolSetting("crosslens.models.upload", false, Setting.Property.NodeScope);
    /** A larger model is refused. */
    private static final Setting<ByteSizeValue> MAX_SIZE = Setting.byteSizeSetting(
        "crosslens.models.max_size",
        ByteSizeValue.ofGb(2),
        ByteSizeValue.ofBytes(1),
        ByteSizeValue.ofGb(32),
        Setting.Property.NodeScope
    );

    private Shared() {}

    public static List<Setting<?>> settings() {
        return List.of(UPLOAD, MAX_SIZE);
    }

    /** The index that keeps models is the cluster's, whether this node takes any or not. */
    public static Collection<SystemIndexDescriptor> indices() {
        return List.of(Store.descriptor());
    }

    /** The folder with the shared models of a node whose data lies in {@code data}, or null where it has none. */
    public static Path models(Settings settings, Path data) {
        return UPLOAD.get(settings) ? Depot.models(root(data)) : null;
    }

    /** As the entitlement policy names it. */
    private static Path root(Path data) {
        return data.resolve("crosslens");
    }

    /** {@code configured} is the folder of the node's own models; {@code removed} gets the names of models that are taken away. */
    public static Sharing start(
        Settings settings,
        Path data,
        Path configured,
        Client client,
        Peers peers,
        CircuitBreaker breaker,
        ThreadPool threads,
        Consumer<String> removed
    ) {
        Own own = new Own(configured);
        if (UPLOAD.get(settings) == false) {
            return new Sharing(0, peers, own, null, null, null, null);
        }
        Depot depot = new Depot(root(data));
        try {
            depot.clean();
        } catch (IOException e) {
            LOG.warn("what was left of unfinished models can't be deleted", e);
        }
        Store store = new Store(client);
        Gate gate = new Gate(breaker);
        Staging staging = new Staging(store, depot, gate);
        Syncing syncing = new Syncing(peers, store, depot, staging, own, removed, threads.generic(), threads::relativeTimeInMillis);
        Sharing sharing = new Sharing(MAX_SIZE.get(settings).getBytes(), peers, own, gate, store, staging, syncing);
        threads.scheduleWithFixedDelay(sharing::tick, TICK, threads.generic());
        return sharing;
    }
}
