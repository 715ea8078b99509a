"""The service: one process that answers over HTTP what each user will do next.

`server` listens, `app` joins the routes. In the order of a request: `http` (connection, gate, bodies,
refusals), `routes` (one file a group), `intake` (events to the ledger), `answer` (lists, probabilities),
all of them on `state` (the engine: live model, memory of what every user did, ledger, clock). `shapes` are
the requests and the answers; `static` is the page.

HTTP types stop in `http` and `routes`; models are only called, never trained.
"""
