"""HTTP itself: connection, gate, bodies, refusals, what /openapi.json says, figures for Prometheus."""
