package org.crosslens.server.version;

import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.RestHandler;

/** The plugin's methods whose signatures differ between major versions of Elasticsearch; here those of 9.x. */
public abstract class VersionedPlugin extends Plugin implements ActionPlugin {

    /** An action and what carries it out. */
    public record Handled(ActionType<?> type, Class<? extends TransportAction<?, ?>> transport) {}

    /** The plugin's actions. */
    protected abstract List<Handled> actions();

    /** The plugin's REST handlers. */
    protected abstract List<RestHandler> handlers();

    @Override
    public Collection<ActionHandler> getActions() {
        return actions().stream().map(each -> new ActionHandler(each.type(), each.transport())).toList();
    }

    @Override
    public Collection<RestHandler> getRestHandlers(
        RestHandlersServices services,
        Supplier<DiscoveryNodes> nodes,
        Predicate<NodeFeature> supports
    ) {
        return handlers();
    }
}
