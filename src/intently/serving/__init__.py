"""The service: one process that answers over HTTP what each user will do next.

Read in this order: `engine` joins what is behind an answer (the live model, `memory` of what every
user did, the shop's `clock`, the popular items behind both); `model` swaps artifacts while answering;
`ledger` makes an event durable before it is acknowledged; `shapes` are the requests and the answers,
`problems` every refusal; `app` puts them on FastAPI and `server` on an address. `static` is the page.

HTTP types stop here; models are only called, never trained.
"""
