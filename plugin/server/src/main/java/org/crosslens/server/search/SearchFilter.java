package org.crosslens.server.search;

import java.util.List;
import java.util.function.BiConsumer;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.support.ActionFilter;
import org.elasticsearch.action.support.ActionFilterChain;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.threadpool.ThreadPool;

/**
 * Puts into each search's thread context the information that Elasticsearch doesn't pass to query vector builders: whether
 * the search is still wanted, and the request itself, which names the searched fields.
 */
public final class SearchFilter implements ActionFilter {

    /** The key of the current search's request in the thread context. */
    static final String REQUEST = "crosslens.request";

    private final ThreadPool threadPool;

    public SearchFilter(ThreadPool threadPool) {
        this.threadPool = threadPool;
    }

    /** After security, which rewrites the indices to those that the user may read. */
    @Override
    public int order() {
        return Integer.MAX_VALUE;
    }

    @Override
    public <Request extends ActionRequest, Response extends ActionResponse> void apply(
        Task task,
        String action,
        Request request,
        ActionListener<Response> listener,
        ActionFilterChain<Request, Response> chain
    ) {
        if (request instanceof SearchRequest == false) {
            chain.proceed(task, action, request, listener);
            return;
        }
        SearchRequest search = (SearchRequest) request;
        ThreadContext context = threadPool.getThreadContext();
        Wanted outer = context.getTransient(Wanted.KEY);
        TimeValue timeout = search.source() == null ? null : search.source().timeout();
        long until = timeout == null || timeout.millis() < 0 ? Long.MAX_VALUE : now() + timeout.millis();
        CancellableTask cancellable = task instanceof CancellableTask each ? each : null;
        BiConsumer<Long, Runnable> timer = (millis, what) -> threadPool.schedule(what, TimeValue.timeValueMillis(millis), threadPool.generic());
        Wanted wanted = new Wanted(outer, cancellable, until, SearchFilter::now, timer);
        ThreadContext.StoredContext stored = context.newStoredContextPreservingResponseHeaders(List.of(Wanted.KEY, REQUEST), List.of());
        try {
            context.putTransient(Wanted.KEY, wanted);
            context.putTransient(REQUEST, search);
            chain.proceed(task, action, request, listener);
        } finally {
            stored.restore();
        }
    }

    /** Milliseconds, exact where the thread pool's own clock is 200 ms behind. */
    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
