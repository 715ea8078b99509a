"""What one event changes at once: counters, the ranking's last layer, exploration, a stranger's first steps.

Everything here learns while the service answers and is rebuilt from the log, or from a snapshot and the
log after it. Numbers are those of the memory: users and items are int32, moments are seconds.
"""
