"""Tables to one frozen `Dataset`.

Reads a shop's rows (`ingest`), looks for what is wrong with them (`doctor`), and hands on a
`Dataset` with dense ids, cut at a moment, and `Histories`: ragged batches of what users did. `shops`
knows where a real demonstration shop lies; `simulator` makes a synthetic one with a known answer.
"""

from intently.data.dataset import Dataset
from intently.data.histories import Histories
from intently.data.ids import IdMap

__all__ = ["Dataset", "Histories", "IdMap"]
