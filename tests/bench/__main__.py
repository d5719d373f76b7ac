"""Runs every benchmark, one after the other."""

from tests.bench import bulk, gathering, images, large, memory, passages, quality, query, server, texts, words, write

for benchmark in (images, texts, write, bulk, gathering, memory, query, server, large, quality, words, passages):
    benchmark.main()
