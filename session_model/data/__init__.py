"""From clickstream logs to columns of sessions."""
