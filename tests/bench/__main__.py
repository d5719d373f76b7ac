"""Runs every benchmark, one after the other."""

from tests.bench import (
    bulk,
    footage,
    gathering,
    images,
    memory,
    passages,
    quality,
    query,
    scale,
    search_time,
    server,
    texts,
    words,
    write,
)

for benchmark in (
    images,
    texts,
    write,
    bulk,
    gathering,
    memory,
    query,
    server,
    search_time,
    scale,
    quality,
    words,
    passages,
    footage,
):
    benchmark.main()
