package org.crosslens.server.ingest;

import java.util.Map;
import org.elasticsearch.ingest.Processor;

/** Makes a processor of what a pipeline says. */
@FunctionalInterface
public interface ProcessorMaker {

    /** The processor that {@code config} describes; what it doesn't take out of {@code config} is refused. */
    Processor make(String tag, String description, Map<String, Object> config) throws Exception;
}
