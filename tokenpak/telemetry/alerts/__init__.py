"""
What Prometheus and Grafana are told of our metrics: alert rules, and a dashboard.

``rules`` are made by ``thresholds`` of the pieces in ``promql``, and have unit tests of
their own (``rule_tests``); ``dashboard`` shows the ``panels``.  Texts only: nothing
here reads a log or asks a server.
"""
