"""What the shop's own people say about answers: filters, boosts, pins, caps, and when they hold.

`language` reads a filter, `filters` says which items it lets through.
"""
