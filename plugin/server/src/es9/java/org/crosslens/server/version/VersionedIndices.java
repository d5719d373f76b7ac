package org.crosslens.server.version;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.cluster.metadata.ProjectMetadata;
import org.elasticsearch.cluster.metadata.IndexMetadata;
import org.elasticsearch.index.Index;
import org.elasticsearch.plugins.Plugin;

/** The indices on this cluster that a search is for, whose look-up differs between major versions; here for 9.x. */
public final class VersionedIndices {

    private VersionedIndices() {}

    /** Their metadata; of other clusters' indices nothing is known here. */
    public static Collection<IndexMetadata> of(SearchRequest request, Plugin.PluginServices node) {
        ProjectMetadata project = node.projectResolver().getProjectMetadata(node.clusterService().state());
        if (request.pointInTimeBuilder() != null) {
            return ResolvedIndices.resolveWithPIT(
                request.pointInTimeBuilder(),
                request.indicesOptions(),
                project,
                node.namedWriteableRegistry()
            ).getConcreteLocalIndicesMetadata().values();
        }
        String[] local = Arrays.stream(request.indices()).filter(name -> name.indexOf(':') < 0).toArray(String[]::new);
        List<IndexMetadata> found = new ArrayList<>();
        if (local.length == 0 && request.indices().length > 0) {
            return found;
        }
        Index[] indices = node.indexNameExpressionResolver().concreteIndices(project, request.indicesOptions(), local);
        for (Index each : indices) {
            IndexMetadata index = project.index(each);
            if (index != null) {
                found.add(index);
            }
        }
        return found;
    }
}
