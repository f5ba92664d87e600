"""From kernel counters to records: capture windows, the collector, the record schema, provider forms."""
