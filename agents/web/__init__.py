"""Web ports: pages for probes, Prometheus and people, on a thread that the clicks do not share."""
