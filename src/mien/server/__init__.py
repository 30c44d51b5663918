"""The HTTP server, its Python client, and the live page.

`mien serve` runs `create_app` of `mien.server.app` under uvicorn. Everything but `options` and `client` needs the extra
`serve`. One `AnalyzerPool` serves HTTP requests, video jobs and the live page.

A request passes through these modules: `guard` (hosts, origins, API keys, rates, the form of errors), `bodies` (read
within their limits), `images` or `video` (the routes), `pool` (micro-batches over a few analyzers).
"""
