"""The decision log: what stood behind every answer, kept beside the events and never in their way.

`ids` names answers, `record` is one decision and its bytes, `file` the SQLite file, `log` hands decisions
over and writes them behind the answers. Why an item was shown or not is answered from it in answer/why.py,
and answer/replay.py asks the same question again as of its moment.
"""
