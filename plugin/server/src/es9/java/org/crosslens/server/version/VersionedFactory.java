package org.crosslens.server.version;

import java.util.Map;
import org.elasticsearch.cluster.metadata.ProjectId;
import org.elasticsearch.ingest.Processor;

/** A processor's factory without what differs between major versions of Elasticsearch; here for 9.x. */
public interface VersionedFactory extends Processor.Factory {

    /** The processor that {@code config} describes; what it doesn't take from {@code config} is refused. */
    Processor make(String tag, String description, Map<String, Object> config) throws Exception;

    @Override
    default Processor create(
        Map<String, Processor.Factory> factories,
        String tag,
        String description,
        Map<String, Object> config,
        ProjectId project
    ) throws Exception {
        return make(tag, description, config);
    }
}
