"""Runs every benchmark, one after the other."""

from tests.bench import bulk, images, large, memory, quality, query, scale, server, texts, write

for benchmark in (images, texts, write, bulk, memory, query, server, large, scale, quality):
    benchmark.main()
