package org.crosslens.server.version;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;

/** The plugin's methods whose signatures differ between major versions of Elasticsearch; here those of 8.x. */
public abstract class VersionedPlugin extends Plugin implements ActionPlugin {

    /** An action and what carries it out. */
    public record Handled(ActionType<?> type, Class<? extends TransportAction<?, ?>> transport) {}

    /** The plugin's actions. */
    protected abstract List<Handled> actions();

    /** The plugin's REST handlers. */
    protected abstract List<RestHandler> handlers();

    // The type arguments only tie request and response of one action together, which the list of both can't say.
    @Override
    @SuppressWarnings({ "unchecked", "rawtypes" })
    public Collection<ActionHandler<? extends ActionRequest, ? extends ActionResponse>> getActions() {
        List<ActionHandler<? extends ActionRequest, ? extends ActionResponse>> handlers = new ArrayList<>();
        for (Handled each : actions()) {
            handlers.add(new ActionHandler((ActionType) each.type(), (Class) each.transport()));
        }
        return handlers;
    }

    @Override
    public Collection<RestHandler> getRestHandlers(
        Settings settings,
        NamedWriteableRegistry registry,
        RestController controller,
        ClusterSettings clusterSettings,
        IndexScopedSettings indexSettings,
        SettingsFilter filter,
        IndexNameExpressionResolver resolver,
        Supplier<DiscoveryNodes> nodes,
        Predicate<NodeFeature> supports
    ) {
        return handlers();
    }
}
