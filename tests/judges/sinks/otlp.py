"""Reads an ExportLogsServiceRequest with OpenTelemetry's own protobufs."""

import json
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

request = ExportLogsServiceRequest()
request.ParseFromString(sys.stdin.buffer.read())
print(json.dumps(MessageToDict(request)))
