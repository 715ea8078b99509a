"""Events as other systems send them, in our words: Google Analytics 4 and Segment.

A translator turns one payload into native events, each of which is then judged like any other. One message
may become several events (an order of three products), with event ids made from what the sender gave, so
that sending the same again counts once.
"""

from intently.serving.compat import ga4, segment
from intently.serving.compat.translated import Translated

__all__ = ["Translated", "ga4", "segment"]
