package org.crosslens.server.ingest;

import java.util.List;
import java.util.Map;
import org.crosslens.server.documents.Source;
import org.crosslens.server.documents.Template;
import org.elasticsearch.ingest.ConfigurationUtils;

/** What a pipeline says of a processor: {@code model} null is the only one there is. */
record Settings(String model, String field, Source source, boolean ignoreMissing, boolean recordErrors) {

    /** Where documents keep their states, by the vector field's path. */
    static final String STATE = "crosslens";

    /** Takes the settings out of {@code config}. Throws what Elasticsearch answers a wrong pipeline with. */
    static Settings read(String tag, Map<String, Object> config) {
        String type = CrosslensProcessor.TYPE;
        String model = ConfigurationUtils.readOptionalStringProperty(type, tag, config, "model");
        String field = ConfigurationUtils.readStringProperty(type, tag, config, "field");
        String modality = ConfigurationUtils.readStringProperty(type, tag, config, "modality");
        String written = ConfigurationUtils.readOptionalStringProperty(type, tag, config, "template");
        List<String> named = ConfigurationUtils.readOptionalListOrString(type, tag, config, "source");
        boolean listed = ConfigurationUtils.readBooleanProperty(type, tag, config, "each", false);
        boolean passages = ConfigurationUtils.readBooleanProperty(type, tag, config, "passages", false);
        boolean ignoreMissing = ConfigurationUtils.readBooleanProperty(type, tag, config, "ignore_missing", false);
        boolean recordErrors = ConfigurationUtils.readBooleanProperty(type, tag, config, "record_errors", false);
        if (modality.equals("text") == false && modality.equals("image") == false) {
            throw wrong(tag, "modality", "must be text or image, not [" + modality + "]");
        }
        boolean image = modality.equals("image");
        if (image && passages) {
            throw wrong(tag, "passages", "goes with texts only");
        }
        boolean each = listed || passages;
        if (written != null && (image || each || named.isEmpty() == false)) {
            throw wrong(tag, "template", "goes with texts only, without [each] or [passages], and names the sources itself");
        }
        Template template;
        try {
            template = written == null ? null : new Template(written);
        } catch (IllegalArgumentException e) {
            throw wrong(tag, "template", e.getMessage());
        }
        List<String> sources = template == null ? named : template.sources();
        if (sources.isEmpty()) {
            throw wrong(tag, template == null ? "source" : "template", "names no field to encode");
        }
        if (sources.size() > 1 && (image || each)) {
            throw wrong(tag, "source", "must be one field for an image, with [each] or with [passages]");
        }
        return new Settings(model, field, new Source(sources, image, template, each, passages), ignoreMissing, recordErrors);
    }

    private static RuntimeException wrong(String tag, String property, String why) {
        return ConfigurationUtils.newConfigurationException(CrosslensProcessor.TYPE, tag, property, why);
    }

    /** The path of the field's state in a document. */
    String state() {
        return STATE + "." + field;
    }

    String described() {
        return (source.image() ? "image" : "text") + " in " + String.join(", ", source.fields());
    }
}
