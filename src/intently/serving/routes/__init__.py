"""Routes, one file a group: each reads and checks its request, calls what answers, and gives bytes.

FastAPI's own reading and encoding of twenty items costs more than everything else here, and its validation
errors echo what was sent; so routes take the bare request and give bytes made by orjson.
"""
