"""What Prometheus and Grafana need to know of our metrics."""
