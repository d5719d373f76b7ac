package org.crosslens.server.work;

import java.util.concurrent.atomic.AtomicLong;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;
import org.elasticsearch.common.breaker.NoopCircuitBreaker;

/** Counts what is reserved, now and at most, and refuses above a limit. */
public final class CountingBreaker extends NoopCircuitBreaker {

    public final AtomicLong used = new AtomicLong();
    public final AtomicLong most = new AtomicLong();
    private final long limit;

    public CountingBreaker(long limit) {
        super("crosslens");
        this.limit = limit;
    }

    @Override
    public void addEstimateBytesAndMaybeBreak(long bytes, String label) {
        long now = used.addAndGet(bytes);
        if (now > limit) {
            used.addAndGet(-bytes);
            throw new CircuitBreakingException("full", CircuitBreaker.Durability.TRANSIENT);
        }
        most.accumulateAndGet(now, Math::max);
    }

    @Override
    public void addWithoutBreaking(long bytes) {
        used.addAndGet(bytes);
    }

    @Override
    public long getLimit() {
        return limit;
    }
}
