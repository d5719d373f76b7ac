"""Runs every benchmark, one after the other."""

from tests.bench import bulk, images, large, memory, quality, query, server, texts, words, write

for benchmark in (images, texts, write, bulk, memory, query, server, large, quality, words):
    benchmark.main()
