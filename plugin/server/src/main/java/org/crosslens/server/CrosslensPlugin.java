package org.crosslens.server;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.lucene.util.SetOnce;
import org.crosslens.server.action.EncodeAction;
import org.crosslens.server.action.InfoAction;
import org.crosslens.server.action.ModelAction;
import org.crosslens.server.action.RestCrosslens;
import org.crosslens.server.action.RestModels;
import org.crosslens.server.documents.References;
import org.crosslens.server.encode.Device;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.ingest.CrosslensProcessor;
import org.crosslens.server.ingest.LabelSets;
import org.crosslens.server.ingest.LabelsProcessor;
import org.crosslens.server.ingest.UpdateParts;
import org.crosslens.server.hybrid.RestHybrid;
import org.crosslens.server.search.CrosslensQueryVectorBuilder;
import org.crosslens.server.search.CrosslensRankDoc;
import org.crosslens.server.search.CrosslensRetrieverBuilder;
import org.crosslens.server.search.SearchFilter;
import org.crosslens.server.serve.Encoders;
import org.crosslens.server.serve.Others;
import org.crosslens.server.share.Shared;
import org.crosslens.server.share.Sharing;
import org.crosslens.server.version.VersionedFactory;
import org.crosslens.server.version.VersionedIndices;
import org.crosslens.server.version.VersionedPlugin;
import org.crosslens.server.wire.Peers;
import org.crosslens.server.wire.Wire;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Models;
import org.crosslens.server.work.Preload;
import org.elasticsearch.action.support.ActionFilter;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.settings.Setting;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.unit.ByteSizeValue;
import org.elasticsearch.common.unit.MemorySizeValue;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.env.Environment;
import org.elasticsearch.indices.SystemIndexDescriptor;
import org.elasticsearch.indices.breaker.BreakerSettings;
import org.elasticsearch.ingest.Processor;
import org.elasticsearch.plugins.CircuitBreakerPlugin;
import org.elasticsearch.plugins.IngestPlugin;
import org.elasticsearch.plugins.SearchPlugin;
import org.elasticsearch.plugins.SystemIndexPlugin;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.threadpool.ExecutorBuilder;
import org.elasticsearch.threadpool.FixedExecutorBuilder;
import org.elasticsearch.threadpool.ThreadPool;

/** CLIP inside Elasticsearch: query vectors, an ingest processor and a hybrid retriever. */
public final class CrosslensPlugin extends VersionedPlugin
    implements
        SearchPlugin,
        IngestPlugin,
        CircuitBreakerPlugin,
        SystemIndexPlugin {

    private static final String NAME = "crosslens";
    private static final String BREAKER_LIMIT = "30%";
    private static final long MOST_BETWEEN_CHECKS_MILLIS = 60_000;

    /** Threads that encode for one lane: as many as the node has processors, unless set. */
    static final Setting<Integer> THREADS = new Setting<>(
        "crosslens.threads",
        settings -> Integer.toString(EsExecutors.allocatedProcessors(settings)),
        text -> Setting.parseInt(text, 1, "crosslens.threads"),
        Setting.Property.NodeScope
    );
    /** What encodes: the processor, or a graphics card if the plugin was built for that. */
    static final Setting<Device> DEVICE = new Setting<>("crosslens.device", "cpu", Device::of, Setting.Property.NodeScope);
    /** How many inputs of searches, and how many of {@code _crosslens/encode}, wait before more are refused. */
    static final Setting<Integer> QUEUE_SIZE = Setting.intSetting("crosslens.queue_size", 5_000, 1, Setting.Property.NodeScope);
    /** How much memory the vectors of recent queries may take; 0 keeps none. */
    static final Setting<ByteSizeValue> QUERY_CACHE = Setting.memorySizeSetting(
        "crosslens.query_cache_size",
        ByteSizeValue.ofMb(4),
        Setting.Property.NodeScope
    );
    /** Models that are loaded when the node starts, and stay loaded. */
    static final Setting<List<String>> PRELOAD = Setting.stringListSetting("crosslens.preload", Setting.Property.NodeScope);
    /** A model that wasn't used for so long is unloaded. */
    static final Setting<TimeValue> IDLE = Setting.timeSetting(
        "crosslens.idle_timeout",
        TimeValue.timeValueMinutes(30),
        TimeValue.timeValueSeconds(1),
        Setting.Property.NodeScope
    );
    /** Images of more pixels are refused. */
    static final Setting<Integer> MAX_PIXELS = Setting.intSetting(
        "crosslens.max_pixels",
        89_478_485,
        1,
        89_478_485,
        Setting.Property.NodeScope
    );
    /** The only folder that documents may refer to by path; empty for none. The entitlement policy names it too. */
    static final Setting<String> IMAGE_FOLDER = Setting.simpleString("crosslens.image_folder", Setting.Property.NodeScope);

    private final SetOnce<CircuitBreaker> breaker = new SetOnce<>();
    private final SetOnce<CrosslensProcessor.Services> services = new SetOnce<>();
    private final SetOnce<CrosslensQueryVectorBuilder.Services> searches = new SetOnce<>();
    private final SetOnce<SearchFilter> filter = new SetOnce<>();
    private final SetOnce<Sharing> sharing = new SetOnce<>();
    private final SetOnce<Peers> peers = new SetOnce<>();

    @Override
    public Collection<?> createComponents(PluginServices node) {
        Settings settings = node.environment().settings();
        ThreadPool threadPool = node.threadPool();
        int threads = THREADS.get(settings);
        Encoder.Compute compute = new Encoder.Compute(DEVICE.get(settings), threads);
        compute.device().require();
        TimeValue idle = IDLE.get(settings);
        Path folder = node.environment().configDir().resolve(NAME);
        // A node with several data paths keeps models in the first one.
        Path data = node.environment().dataDirs()[0], shared = Shared.models(settings, data);
        List<Path> roots = shared == null ? List.of(folder) : List.of(folder, shared);
        Models models = new Models(roots, compute, idle.millis(), threadPool::relativeTimeInMillis, threadPool.generic());
        Encoding work = new Encoding(
            models,
            threadPool.executor(NAME),
            breaker.get(),
            new Encoding.Limits(
                threads,
                QUEUE_SIZE.get(settings),
                MAX_PIXELS.get(settings),
                QUERY_CACHE.get(settings).getBytes()
            )
        );
        References references = new References(imageFolder(node.environment(), settings));
        LabelSets labels = new LabelSets(node.client(), threadPool.generic(), breaker.get(), threadPool::relativeTimeInMillis);
        services.set(new CrosslensProcessor.Services(models, work, references, labels, threadPool.getThreadContext()));
        filter.set(new SearchFilter(threadPool));
        peers.set(new Peers(node.clusterService()::state));
        Encoders encoders = new Encoders(models, work, new Others(peers.get(), threadPool::relativeTimeInMillis));
        searches.set(new CrosslensQueryVectorBuilder.Services(encoders, request -> VersionedIndices.of(request, node)));
        sharing.set(Shared.start(settings, data, folder, node.client(), peers.get(), breaker.get(), threadPool, models::forget));
        Preload preload = new Preload(PRELOAD.get(settings), models, work);
        TimeValue check = TimeValue.timeValueMillis(Math.min(Math.max(idle.millis() / 4, 1_000), MOST_BETWEEN_CHECKS_MILLIS));
        threadPool.generic().execute(preload::keep);
        threadPool.scheduleWithFixedDelay(() -> {
            // What is kept counts as used just now.
            preload.keep();
            models.unloadIdle();
        }, check, threadPool.generic());
        return List.of(models, work, encoders, sharing.get());
    }

    private static Path imageFolder(Environment environment, Settings settings) {
        String folder = IMAGE_FOLDER.get(settings);
        return folder.isEmpty() ? null : environment.configDir().resolve(folder);
    }

    @Override
    public List<Setting<?>> getSettings() {
        List<Setting<?>> all = new ArrayList<>(
            List.of(THREADS, DEVICE, QUEUE_SIZE, QUERY_CACHE, PRELOAD, IDLE, MAX_PIXELS, IMAGE_FOLDER)
        );
        all.addAll(Shared.settings());
        return all;
    }

    @Override
    public String getFeatureName() {
        return NAME;
    }

    @Override
    public String getFeatureDescription() {
        return "Keeps the models that crosslens hands to all nodes";
    }

    @Override
    public Collection<SystemIndexDescriptor> getSystemIndexDescriptors(Settings settings) {
        return Shared.indices();
    }

    /** Says to other nodes which messages this one's plugin writes. */
    @Override
    public Settings additionalSettings() {
        return Settings.builder().put("node.attr." + Wire.ATTRIBUTE, Wire.VERSION).build();
    }

    @Override
    public List<ExecutorBuilder<?>> getExecutorBuilders(Settings settings) {
        // The queues are Encoding's own, and so is who gets a thread.
        int size = Encoding.threads(THREADS.get(settings));
        return List.of(
            new FixedExecutorBuilder(settings, NAME, size, -1, "crosslens.thread_pool", EsExecutors.TaskTrackingConfig.DO_NOT_TRACK)
        );
    }

    @Override
    public BreakerSettings getCircuitBreaker(Settings settings) {
        long limit = MemorySizeValue.parseBytesSizeValueOrHeapRatio(BREAKER_LIMIT, "breaker.crosslens.limit").getBytes();
        return BreakerSettings.updateFromSettings(new BreakerSettings(NAME, limit, 1.0), settings);
    }

    @Override
    public void setCircuitBreaker(CircuitBreaker circuitBreaker) {
        breaker.set(circuitBreaker);
    }

    @Override
    protected List<Handled> actions() {
        return List.of(
            new Handled(EncodeAction.TYPE, EncodeAction.Transport.class),
            new Handled(InfoAction.MODELS, InfoAction.ModelsTransport.class),
            new Handled(InfoAction.STATS, InfoAction.StatsTransport.class),
            new Handled(ModelAction.PUT, ModelAction.PutTransport.class),
            new Handled(ModelAction.DELETE, ModelAction.DeleteTransport.class)
        );
    }

    @Override
    protected List<RestHandler> handlers() {
        List<RestHandler> handlers = new ArrayList<>(RestCrosslens.handlers(() -> services.get().encoding()));
        handlers.addAll(RestModels.handlers());
        handlers.add(new RestHybrid());
        return handlers;
    }

    @Override
    public Collection<ActionFilter> getActionFilters() {
        return List.of(filter.get(), new UpdateParts());
    }

    @Override
    public Map<String, Processor.Factory> getProcessors(Processor.Parameters parameters) {
        return Map.of(
            CrosslensProcessor.TYPE,
            new VersionedFactory(new CrosslensProcessor.Maker(services::get)),
            LabelsProcessor.TYPE,
            new VersionedFactory(new LabelsProcessor.Maker(services::get))
        );
    }

    @Override
    public List<QueryVectorBuilderSpec<?>> getQueryVectorBuilders() {
        return List.of(
            new QueryVectorBuilderSpec<>(
                CrosslensQueryVectorBuilder.NAME,
                in -> CrosslensQueryVectorBuilder.read(in, searches::get),
                (parser, ignored) -> CrosslensQueryVectorBuilder.parse(parser, searches::get)
            )
        );
    }

    @Override
    public List<RetrieverSpec<?>> getRetrievers() {
        return List.of(
            new RetrieverSpec<>(
                CrosslensRetrieverBuilder.NAME,
                (parser, context) -> CrosslensRetrieverBuilder.parse(parser, context, () -> peers.get().allRead())
            )
        );
    }

    @Override
    public List<NamedWriteableRegistry.Entry> getNamedWriteables() {
        return List.of(
            new NamedWriteableRegistry.Entry(RankDoc.class, CrosslensRankDoc.NAME, CrosslensRankDoc::read),
            new NamedWriteableRegistry.Entry(RankDoc.class, CrosslensRankDoc.UNNUMBERED_NAME, CrosslensRankDoc::readUnnumbered)
        );
    }

    @Override
    public void close() {
        if (sharing.get() != null) {
            sharing.get().close();
        }
        if (services.get() != null) {
            services.get().encoding().close();
        }
    }
}
