"""A hybrid search as one story, and the two searchers that run it.

`story` is a generator of `requests`; `searcher` waits for their answers, `async_searcher` awaits them. In its order:
what was asked for (`options`, `keywords`, `wanted`, `terms`, `paging`), what is known of the index (`mapping`,
`analysis`, `readings`), documents to find more of (`liked`), the legs (`build`, `legs`) with the probes of a keyword
query's words (`units`, `words`, `probes`, `respelling`), the trips to the server (`plan`, `windows`, `completion`,
`answers`), and what comes of them (`ranking`).
"""
