"""Runs every benchmark, one after the other."""

from tests.bench import bulk, images, memory, query, texts, write

for benchmark in (images, texts, write, bulk, memory, query):
    benchmark.main()
