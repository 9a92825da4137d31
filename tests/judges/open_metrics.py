"""Reads `/metrics` with the parser of Prometheus' own client."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = text_string_to_metric_families(sys.stdin.read())
json.dump([[s.name, s.labels, s.value] for family in families for s in family.samples], sys.stdout)
