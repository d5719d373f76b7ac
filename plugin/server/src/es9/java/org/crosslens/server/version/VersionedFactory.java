package org.crosslens.server.version;

import java.util.Map;
import org.crosslens.server.ingest.ProcessorMaker;
import org.elasticsearch.cluster.metadata.ProjectId;
import org.elasticsearch.ingest.Processor;

/** A processor's factory, whose method differs between major versions of Elasticsearch; here for 9.x. */
public record VersionedFactory(ProcessorMaker maker) implements Processor.Factory {

    @Override
    public Processor create(Map<String, Processor.Factory> all, String tag, String text, Map<String, Object> config, ProjectId project)
        throws Exception {
        return maker.make(tag, text, config);
    }
}
