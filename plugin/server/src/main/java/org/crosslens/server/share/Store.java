package org.crosslens.server.share;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.ExceptionsHelper;
import org.elasticsearch.ResourceAlreadyExistsException;
import org.elasticsearch.action.DocWriteRequest;
import org.elasticsearch.action.admin.indices.create.CreateIndexRequest;
import org.elasticsearch.action.bulk.BulkRequest;
import org.elasticsearch.action.bulk.BulkResponse;
import org.elasticsearch.action.delete.DeleteRequest;
import org.elasticsearch.action.get.GetRequest;
import org.elasticsearch.action.get.GetResponse;
import org.elasticsearch.action.get.MultiGetItemResponse;
import org.elasticsearch.action.get.MultiGetRequest;
import org.elasticsearch.action.index.IndexRequest;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.action.support.WriteRequest;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.client.internal.OriginSettingClient;
import org.elasticsearch.common.Strings;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.index.IndexNotFoundException;
import org.elasticsearch.index.engine.VersionConflictEngineException;
import org.elasticsearch.index.query.QueryBuilders;
import org.elasticsearch.indices.SystemIndexDescriptor;
import org.elasticsearch.ingest.IngestService;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.search.SearchHit;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.fetch.subphase.FetchSourceContext;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentFactory;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.XContentType;
import org.elasticsearch.xcontent.json.JsonXContent;

/**
 * The models that the cluster has been given, in a system index: a document for each model, and one for each part of its
 * bytes. Users can't write to it, Elasticsearch replicates it, and snapshots of the feature {@code crosslens} hold it.
 *
 * <p>All methods wait for Elasticsearch's answer, so they are for generic threads.
 */
final class Store {

    static final String INDEX = ".crosslens-models";
    /** More models than anybody has; so many are read at once. */
    static final int MOST_MODELS = 1_000;
    private static final String MODEL = "model:";
    private static final String[] LISTED = { "name", "upload", "state" };
    private static final int AT_ONCE = 500;
    private static final TimeValue PATIENCE = TimeValue.timeValueSeconds(60);
    private static final String MAPPING = """
        {"_doc": {"dynamic": false, "properties": {"kind": {"type": "keyword"}}}}""";
    private final Client client;

    /** What a model's documents are there for. */
    enum State {
        /** Its parts are arriving. */
        PENDING,
        /** Its parts were put together and are what was announced: nodes take it. */
        PUBLISHED,
        /** Its parts are being deleted. */
        DELETING
    }

    /** A model's document, and which of its versions was read. */
    record Kept(Manifest manifest, State state, long number, long term) {}

    /** What a list of models says of one. */
    record Listed(String name, String upload, State state) {}

    Store(Client client) {
        // Security knows Elasticsearch's own origins only; by this one its ingest processors read hidden indices.
        this.client = new OriginSettingClient(client, IngestService.INGEST_ORIGIN);
    }

    /** Makes the index the node's own business: no user may write to it, and wildcards leave it out. */
    static SystemIndexDescriptor descriptor() {
        return SystemIndexDescriptor.builder()
            .setIndexPattern(INDEX + "*")
            .setDescription("Models that crosslens hands to all nodes")
            .setType(SystemIndexDescriptor.Type.INTERNAL_UNMANAGED)
            .build();
    }

    /** The model of this name, or null. */
    Kept get(String name) {
        GetResponse found = found(name, FetchSourceContext.FETCH_SOURCE);
        if (found == null) {
            return null;
        }
        String text = String.valueOf(found.getSourceAsMap().get("manifest"));
        try (XContentParser parser = JsonXContent.jsonXContent.createParser(XContentParserConfiguration.EMPTY, text)) {
            Manifest manifest = Manifest.read(name, parser, Long.MAX_VALUE);
            return new Kept(manifest, listed(found.getSourceAsMap()).state, found.getSeqNo(), found.getPrimaryTerm());
        } catch (IOException e) {
            throw new IllegalStateException("the entry of the model [" + name + "] in " + INDEX + " can't be read", e);
        }
    }

    /** What a list would say of the model of this name, or null. */
    Listed look(String name) {
        GetResponse found = found(name, FetchSourceContext.of(true, LISTED, null));
        return found == null ? null : listed(found.getSourceAsMap());
    }

    private GetResponse found(String name, FetchSourceContext what) {
        try {
            GetResponse found = client.get(new GetRequest(INDEX, MODEL + name).fetchSourceContext(what)).actionGet(PATIENCE);
            return found.isExists() ? found : null;
        } catch (IndexNotFoundException e) {
            return null;
        }
    }

    /** All models; none where the index was never made. Fails where it can't be read just now. */
    List<Listed> list() {
        SearchSourceBuilder models = new SearchSourceBuilder().query(QueryBuilders.termQuery("kind", "model"))
            .size(MOST_MODELS)
            .trackTotalHits(false)
            .fetchSource(LISTED, null);
        SearchResponse answer;
        try {
            answer = client.search(new SearchRequest(INDEX).source(models).allowPartialSearchResults(false)).actionGet(PATIENCE);
        } catch (IndexNotFoundException e) {
            return List.of();
        }
        try {
            List<Listed> all = new ArrayList<>();
            for (SearchHit hit : answer.getHits().getHits()) {
                all.add(listed(hit.getSourceAsMap()));
            }
            return all;
        } finally {
            answer.decRef();
        }
    }

    private static Listed listed(Map<String, Object> source) {
        State state = State.valueOf(String.valueOf(source.get("state")));
        return new Listed(String.valueOf(source.get("name")), String.valueOf(source.get("upload")), state);
    }

    /** Announces a model. Returns false where one of its name was announced meanwhile. */
    boolean create(Manifest manifest) {
        try {
            client.admin().indices().create(settings()).actionGet(PATIENCE);
        } catch (RuntimeException e) {
            if (ExceptionsHelper.unwrapCause(e) instanceof ResourceAlreadyExistsException == false) {
                throw e;
            }
        }
        return written(() -> put(manifest, State.PENDING).opType(DocWriteRequest.OpType.CREATE));
    }

    private static CreateIndexRequest settings() {
        Settings.Builder settings = Settings.builder()
            .put("index.number_of_shards", 1)
            .put("index.auto_expand_replicas", "0-1")
            .put("index.hidden", true);
        return new CreateIndexRequest(INDEX).settings(settings).mapping(MAPPING);
    }

    /** Changes a model's state. Returns false where its document was changed meanwhile. */
    boolean change(Kept kept, State state) {
        return written(() -> put(kept.manifest, state).setIfSeqNo(kept.number).setIfPrimaryTerm(kept.term));
    }

    private static IndexRequest put(Manifest manifest, State state) {
        try (XContentBuilder source = JsonXContent.contentBuilder(); XContentBuilder text = JsonXContent.contentBuilder()) {
            source.startObject().field("kind", "model").field("name", manifest.name());
            source.field("upload", manifest.upload()).field("state", state.name());
            source.field("manifest", Strings.toString(manifest.write(text))).endObject();
            return new IndexRequest(INDEX).id(MODEL + manifest.name())
                .source(source)
                .setRefreshPolicy(WriteRequest.RefreshPolicy.IMMEDIATE);
        } catch (IOException e) {
            throw new AssertionError("writing to memory doesn't fail", e);
        }
    }

    private boolean written(Supplier<IndexRequest> request) {
        try {
            client.index(request.get()).actionGet(PATIENCE);
            return true;
        } catch (RuntimeException e) {
            if (ExceptionsHelper.unwrapCause(e) instanceof VersionConflictEngineException) {
                return false;
            }
            throw e;
        }
    }

    /** Keeps a part of an announced model. */
    void putPart(Manifest manifest, int part, byte[] bytes) {
        try (XContentBuilder source = XContentFactory.contentBuilder(XContentType.CBOR)) {
            source.startObject().field("kind", "part").field("data", bytes).endObject();
            client.index(new IndexRequest(INDEX).id(id(manifest.upload(), part)).source(source)).actionGet(PATIENCE);
        } catch (IOException e) {
            throw new AssertionError("writing to memory doesn't fail", e);
        }
    }

    /** The bytes of a part, which are checked by whoever uses them. */
    byte[] part(Manifest manifest, String upload, int part) {
        GetResponse found = client.prepareGet(INDEX, id(upload, part)).get(PATIENCE);
        if (found.isExists() && found.getSourceAsMap().get("data") instanceof byte[] bytes) {
            return bytes;
        }
        throw new ElasticsearchStatusException("the model [{}] was deleted meanwhile", RestStatus.CONFLICT, manifest.name());
    }

    /** The numbers of the parts that haven't arrived. */
    List<Integer> missing(Manifest manifest) {
        // What is searchable is looked up without its bytes being read.
        client.admin().indices().prepareRefresh(INDEX).get(PATIENCE);
        List<Integer> missing = new ArrayList<>();
        String upload = manifest.upload();
        for (int start = 0; start < manifest.parts().size(); start += AT_ONCE) {
            MultiGetRequest request = new MultiGetRequest();
            for (int part = start; part < Math.min(start + AT_ONCE, manifest.parts().size()); part++) {
                request.add(
                    new MultiGetRequest.Item(INDEX, id(upload, part)).fetchSourceContext(FetchSourceContext.DO_NOT_FETCH_SOURCE)
                );
            }
            int part = start;
            for (MultiGetItemResponse each : client.multiGet(request).actionGet(PATIENCE)) {
                if (each.isFailed()) {
                    throw new IllegalStateException("the parts of a model can't be looked up", each.getFailure().getFailure());
                }
                if (each.getResponse().isExists() == false) {
                    missing.add(part);
                }
                part++;
            }
        }
        return missing;
    }

    /** Deletes the parts of a model that is {@link State#DELETING}, and then its document. */
    void delete(Manifest manifest) {
        String upload = manifest.upload();
        for (int start = 0; start < manifest.parts().size(); start += AT_ONCE) {
            BulkRequest bulk = new BulkRequest();
            for (int part = start; part < Math.min(start + AT_ONCE, manifest.parts().size()); part++) {
                bulk.add(new DeleteRequest(INDEX, id(upload, part)));
            }
            BulkResponse answer = client.bulk(bulk).actionGet(PATIENCE);
            if (answer.hasFailures()) {
                throw new IllegalStateException("parts of a model can't be deleted: " + answer.buildFailureMessage());
            }
        }
        client.delete(new DeleteRequest(INDEX, MODEL + manifest.name()).setRefreshPolicy(WriteRequest.RefreshPolicy.IMMEDIATE))
            .actionGet(PATIENCE);
    }

    private static String id(String upload, int part) {
        return "part:" + upload + ":" + part;
    }
}
