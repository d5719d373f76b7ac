"""Runs every benchmark, one after the other."""

from tests.bench import (
    bulk,
    gathering,
    images,
    large,
    memory,
    passages,
    quality,
    query,
    scale,
    server,
    texts,
    words,
    write,
)

for benchmark in (images, texts, write, bulk, gathering, memory, query, server, large, scale, quality, words, passages):
    benchmark.main()
