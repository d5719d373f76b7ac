"""Runs every benchmark, one after the other."""

from tests.bench import images, query, texts, write

for benchmark in (images, texts, write, query):
    benchmark.main()
