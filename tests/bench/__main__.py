"""Runs every benchmark, one after the other."""

from tests.bench import bulk, gathering, images, large, memory, quality, query, server, texts, write

for benchmark in (images, texts, write, bulk, gathering, memory, query, server, large, quality):
    benchmark.main()
